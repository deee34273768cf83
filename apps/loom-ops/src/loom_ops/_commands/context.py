"""The context in which the checks and commands of a run are executed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loom_ops._commands.allow_rules import Rules
    from loom_ops._commands.secrets import Vault

__all__ = ["ExecutionContext"]

_OFF: Final = "commands are off; set LOOM_OPS_ALLOW_SHELL=1 and write allow rules"


@dataclass(frozen=True, slots=True)
class ExecutionContext:
    """The workspace, the allow rules and the secrets of one run.

    Args:
        workspace: The folder that commands and relative paths start from.
        rules: The allow rules; None when commands are off.
        clock: Seconds since 1970.
        why_off: Why there are no allow rules, when `rules` is None.
        mcp_file: The file that names the MCP servers for checks; None for none.
    """

    workspace: Path
    rules: Rules | None
    vault: Vault
    clock: Callable[[], float] = time.time
    why_off: str = _OFF
    mcp_file: Path | None = None
