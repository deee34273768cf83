"""Everything that `loom-run` refuses on purpose, as a tree.

loom_runner.RunnerError
└── LoomRunError            a command that cannot do what was asked; carries its exit code
"""

from collections.abc import Iterator
from contextlib import contextmanager

from loom_runner import RunnerError
from loom_runner.cli_base import ExitCode

__all__ = ["LoomRunError", "agent_errors_named"]


class LoomRunError(RunnerError):
    """Say in one line why a command did nothing.

    Args:
        message: *cannot X: Y. Do Z.*
        exit_code: what the command leaves with.
        run_id: the run that it was about.
    """

    def __init__(self, message: str, *, exit_code: ExitCode = ExitCode.USAGE, run_id: str | None = None) -> None:
        super().__init__(message, run_id=run_id)
        self.exit_code = exit_code


@contextmanager
def agent_errors_named() -> Iterator[None]:
    """Turn errors of the agent kit, raised before a run begins to work, into one line and an exit code."""
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
