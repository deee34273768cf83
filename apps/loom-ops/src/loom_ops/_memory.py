"""The facts that earlier runs have learned, in the database of the runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loom_agents.memory import MIGRATIONS, Memory

from loom_ops._tables import Tables

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["open_memory"]


def open_memory(path: Path | str, *, read_only: bool = False) -> Memory:
    """Open the memory of a database.

    Args:
        read_only: Write nothing to it; the tables may be missing.

    Raises:
        LoomOpsError: The database cannot be used.
    """
    return Memory(Tables(path, "memory", "memory", MIGRATIONS, read_only=read_only))
