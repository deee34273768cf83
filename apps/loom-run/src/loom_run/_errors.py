"""The errors that `loom-run` raises on purpose, as a tree.

loom_runner.RunnerError
└── LoomRunError            a command that cannot do what was asked; has its exit code
"""

from collections.abc import Iterator
from contextlib import contextmanager

from loom_runner import RunnerError
from loom_runner.cli_base import ExitCode

__all__ = ["LoomRunError", "translate_agent_errors"]


class LoomRunError(RunnerError):
    """Say in one line why a command did nothing.

    Args:
        message: *cannot X: Y. Do Z.*
        exit_code: the exit code of the command.
        run_id: the run concerned.
    """

    def __init__(self, message: str, *, exit_code: ExitCode = ExitCode.USAGE, run_id: str | None = None) -> None:
        super().__init__(message, run_id=run_id)
        self.exit_code = exit_code


@contextmanager
def translate_agent_errors() -> Iterator[None]:
    """Turn errors of `loom_agents` that are raised before a run starts into one line with an exit code."""
    from loom_agents import AgentError, MessageFormatError, ModelError, ScriptError

    try:
        yield
    except MessageFormatError as exc:
        raise LoomRunError(str(exc), exit_code=ExitCode.STORE) from exc
    except ModelError as exc:
        code = ExitCode.USAGE if isinstance(exc, ScriptError) else ExitCode.PROVIDER
        raise LoomRunError(str(exc), exit_code=code) from exc
    except AgentError as exc:
        raise LoomRunError(str(exc)) from exc
