"""Ask a person once whether a project's file may start programs, or say in one line that nobody was asked."""

import sys
from dataclasses import dataclass
from pathlib import Path

import click
from loom_runner.cli_base import write_error

from loom_run._config import Settings, user_folder
from loom_run._errors import LoomRunError
from loom_run._lines import printable

__all__ = ["Trusting"]

_SHOWN_LINES = 40


@dataclass(frozen=True, slots=True)
class Trusting:
    """Decide about the files of projects.

    Args:
        given: the user said `--trust` on this command.
        may_ask: somebody sits at a terminal.
    """

    given: bool = False
    may_ask: bool = False

    @classmethod
    def at_terminal(cls, *, given: bool) -> "Trusting":
        """Build it for this process's own terminal, if it has one."""
        return cls(given, may_ask=all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr)))

    def holds(self, file: Path, digest: str, what: str) -> bool:
        """Say whether a file is trusted; ask when somebody can answer.

        Args:
            file: the file.
            digest: SHA-256 of its bytes.
            what: what it would do, for a person: "start MCP servers".
        """
        from loom_agents.mcp import TrustedFiles

        words = TrustedFiles(user_folder() / "trust.json")
        if words.trusts(file, digest):
            return True
        if not (self.given or (self.may_ask and self._asked(file, what, is_known=words.knows(file)))):
            return False
        words.trust(file, digest)
        return True

    def require(self, settings: Settings) -> None:
        """Refuse a project's settings that nobody has trusted.

        Raises:
            LoomRunError: they are not trusted.
        """
        if settings.guarded is None:
            return
        file, digest, names = settings.guarded
        if not self.holds(file, digest, f"set {', '.join(names)}"):
            raise LoomRunError(
                f"cannot use {file}: it sets {', '.join(names)} and nobody has trusted it. Look at it, then"
                " say --trust once."
            )

    def _asked(self, file: Path, what: str, *, is_known: bool) -> bool:
        changed = " It has changed since you trusted it." if is_known else ""
        write_error(f"{file} would {what}.{changed}")
        lines = file.read_text(errors="replace").split("\n")
        for line in lines[:_SHOWN_LINES]:
            write_error(f"  | {printable(line)}")
        if len(lines) > _SHOWN_LINES:
            write_error(f"  | ... ({len(lines) - _SHOWN_LINES} more lines)")
        return click.confirm("Trust this file?", default=False, err=True)
