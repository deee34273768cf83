"""The errors that `loom-run` raises, and the command line that reports them.

loom_runner.errors.CommandError
└── LoomRunError            a command cannot be carried out; has its exit code
"""

from typing import Final

from loom_agents.cli import CommandLine
from loom_runner.errors import CommandError

__all__ = ["LOOM_RUN", "LoomRunError"]


class LoomRunError(CommandError):
    """Report in one line why a command cannot be carried out."""


LOOM_RUN: Final = CommandLine("loom-run", start="loom-run chat", error=LoomRunError)
