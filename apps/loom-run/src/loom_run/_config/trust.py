"""Ask a person once whether a project's file may start programs, or refuse in one line when nobody
can be asked.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from flow_xray.terminal import visible_line
from loom_runner.cli_base import write_error
from loom_runner.own_files import read_own_file

from loom_run._config.settings import Settings, user_folder
from loom_run._errors import LoomRunError

if TYPE_CHECKING:
    from loom_agents.trust import TrustedFiles

__all__ = ["TrustPrompt", "trusted_files"]

_MAX_SHOWN_LINES = 40


def trusted_files() -> "TrustedFiles":
    """Open the user's file of what is trusted."""
    from loom_agents.trust import TrustedFiles

    return TrustedFiles(user_folder() / "trust.json")


@dataclass(frozen=True, slots=True)
class TrustPrompt:
    """Decide whether files of projects are trusted.

    Args:
        given: The user gave `--trust` with this command.
        may_ask: The process has a terminal at which to ask.
    """

    given: bool = False
    may_ask: bool = False

    @classmethod
    def at_terminal(cls, *, given: bool) -> "TrustPrompt":
        """Build it for the terminal of this process, if it has one."""
        return cls(given, may_ask=all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr)))

    def trusts(self, file: Path, digest: str, what: str) -> bool:
        """Return whether a file is trusted; ask the user if there is a terminal.

        Args:
            file: The file.
            digest: SHA-256 of its bytes.
            what: What the file would do, for the question: "start MCP servers".
        """
        trusted = trusted_files()
        if trusted.trusts(file, digest):
            return True
        if not (self.given or (self.may_ask and self._ask(file, what, is_known=trusted.knows(file)))):
            return False
        trusted.trust(file, digest)
        return True

    def require(self, settings: Settings) -> None:
        """Refuse a project's settings that are not trusted.

        Raises:
            LoomRunError: The file is not trusted.
        """
        if settings.guarded is None:
            return
        file, digest, names = settings.guarded
        if not self.trusts(file, digest, f"set {', '.join(names)}"):
            raise LoomRunError(
                f"cannot use {file}: it sets {', '.join(names)}, and you have not trusted it. Read it, then repeat the"
                " command with --trust."
            )

    def _ask(self, file: Path, what: str, *, is_known: bool) -> bool:
        changed = " It has changed since you trusted it." if is_known else ""
        write_error(f"{file} would {what}.{changed}")
        lines = read_own_file(file).decode(errors="replace").split("\n")
        for line in lines[:_MAX_SHOWN_LINES]:
            write_error(f"  | {visible_line(line)}")
        if len(lines) > _MAX_SHOWN_LINES:
            write_error(f"  | ... ({len(lines) - _MAX_SHOWN_LINES} more lines)")
        return click.confirm("Trust this file?", default=False, err=True)
