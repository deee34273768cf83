"""The errors that `loom-ops` raises, as a tree.

loom_runner.errors.CommandError
└── LoomOpsError             a command cannot be carried out; has its exit code
    ├── RunbookError         a runbook that cannot be used; has every problem that was found
    ├── RulesError           a file of allow rules that cannot be trusted or read
    ├── CommandDeniedError   a command that no allow rule matches, or that must not be started
    ├── NotMeasuredError     a check that could not measure; its text becomes the evidence
    │   └── TargetError      its target did not answer, or not as expected
    └── AuditError           an audit trail that cannot be written or read
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from loom_agents.cli import CommandLine
from loom_runner.cli_base import ExitCode
from loom_runner.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "LOOM_OPS",
    "AuditError",
    "CommandDeniedError",
    "LoomOpsError",
    "NotMeasuredError",
    "Problem",
    "RulesError",
    "RunbookError",
    "TargetError",
]


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One problem in a runbook, with its line and its fix.

    Args:
        line: The line, from 1.
        text: What and why, without a full stop.
        fix: What to do, without a full stop.
        severity: A runbook with only a `warning` can be used.
    """

    line: int
    text: str
    fix: str
    severity: Literal["error", "warning"] = "error"


class LoomOpsError(CommandError):
    """Report in one line why a command cannot be carried out."""


class RunbookError(LoomOpsError):
    """A runbook has errors and cannot be used; `loom-ops lint` shows all of them.

    Args:
        source: The file, as the user named it.
        problems: The errors, in the order of the lines.
    """

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        first = problems[0]
        more = f" ({len(problems) - 1} more: loom-ops lint {source})" if len(problems) > 1 else ""
        super().__init__(f"cannot use {source}: line {first.line}: {first.text}. {first.fix}.{more}")
        self.problems = tuple(problems)


class RulesError(LoomOpsError):
    """The allow rules are missing, writable by others, empty or wrong. No command is started."""


class CommandDeniedError(LoomOpsError):
    """No allow rule matches a command exactly, or commands are off. It was not started."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_code=ExitCode.DENIED)


class NotMeasuredError(LoomOpsError):
    """A check could not measure its value. The text becomes the evidence in its result."""


class TargetError(NotMeasuredError):
    """The target of a check did not answer, or its answer is not the expected one."""


class AuditError(LoomOpsError):
    """The audit trail cannot be written or read."""


LOOM_OPS: Final = CommandLine("loom-ops", start="loom-ops supervise", error=LoomOpsError)
