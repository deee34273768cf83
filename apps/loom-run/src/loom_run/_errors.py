"""The errors that `loom-run` raises on purpose, and the command that raises them.

loom_runner.errors.CommandError
└── LoomRunError            a command that cannot do what was asked; has its exit code
"""

from typing import Final

from loom_agents.cli import CommandLine
from loom_runner.errors import CommandError

__all__ = ["LOOM_RUN", "LoomRunError"]


class LoomRunError(CommandError):
    """Explain in one line why a command did nothing."""


LOOM_RUN: Final = CommandLine("loom-run", start="loom-run chat", error=LoomRunError)
