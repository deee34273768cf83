"""Everything that `loom-ops` refuses on purpose, as a tree.

loom_runner.RunnerError
└── LoomOpsError            a command that cannot do what was asked; carries its exit code
    ├── RunbookError        a runbook that cannot be used; carries every problem that was found
    ├── RulesError          a file of allow rules that cannot be trusted or read
    ├── CommandDeniedError       a command that no allow rule matches, or that may not be started at all
    └── AuditError          an audit trail that cannot be written or read
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loom_runner import RunnerError
from loom_runner.cli_base import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loom_ops._problems import Problem

__all__ = ["AuditError", "CommandDeniedError", "LoomOpsError", "RulesError", "RunbookError"]


class LoomOpsError(RunnerError):
    """Say in one line why a command did nothing.

    Args:
        message: *cannot X: because Y. Do Z.*
        exit_code: What the command leaves with.
        run_id: The run that it was about.
    """

    def __init__(self, message: str, *, exit_code: ExitCode = ExitCode.USAGE, run_id: str | None = None) -> None:
        super().__init__(message, run_id=run_id)
        self.exit_code = exit_code


class RunbookError(LoomOpsError):
    """A runbook has problems that keep it from being used; `loom-ops lint` shows all of them.

    Args:
        name: The file, as the user named it.
        problems: What is wrong, in the order of the lines.
    """

    def __init__(self, name: str, problems: Sequence[Problem]) -> None:
        first = problems[0]
        more = f" ({len(problems) - 1} more: loom-ops lint {name})" if len(problems) > 1 else ""
        super().__init__(f"cannot use {name}: line {first.line}: {first.text}. {first.fix}.{more}")
        self.problems = tuple(problems)


class RulesError(LoomOpsError):
    """The allow rules are missing, writable by others, empty or wrong. No command is started."""


class CommandDeniedError(LoomOpsError):
    """No allow rule matches a command exactly, or commands are switched off. It was not started."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_code=ExitCode.DENIED)


class AuditError(LoomOpsError):
    """The audit trail cannot be written or read. What it would have recorded was not done."""
