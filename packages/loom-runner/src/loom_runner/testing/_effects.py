"""Effects on the world, counted where no database can hide one."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["EffectLog", "memory_folder"]


class EffectLog:
    """An append-only file; one line per effect, written whole or not at all, by any number of processes.

    Args:
        path: The file; it is made when it is missing.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def add(self, line: str) -> None:
        """Note one effect.

        Durability: the line is with the operating system when this returns; kill -9 cannot undo it.
        """
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, f"{line}\n".encode())
        finally:
            os.close(file)

    def lines(self) -> list[str]:
        """Read all effects, in the order in which they happened."""
        return self.path.read_text("utf-8").splitlines() if self.path.exists() else []

    def count(self, line: str) -> int:
        """Count how often an effect happened."""
        return self.lines().count(line)


def memory_folder() -> str | None:
    """Where files are in memory, if anywhere: a sweep makes thousands, and none has to outlive this machine."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108  (folders in it are made by tempfile)
