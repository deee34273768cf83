"""Effects outside the database, counted in a file."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["EffectLog", "memory_folder"]


class EffectLog:
    """An append-only file with one line per effect, written atomically by any number of processes.

    Args:
        path: The file; it is created if it does not exist.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def add(self, line: str) -> None:
        """Record one effect.

        Durability: The line is in the operating system's cache when this returns, so it survives
        kill -9.
        """
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, f"{line}\n".encode())
        finally:
            os.close(file)

    def lines(self) -> list[str]:
        """Return all effects, in order."""
        return self.path.read_text("utf-8").splitlines() if self.path.exists() else []

    def count(self, line: str) -> int:
        """Count how often an effect happened."""
        return self.lines().count(line)


def memory_folder() -> str | None:
    """Return a folder in memory for the many files of a sweep; None if there is none."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108  (tempfile creates the folders in it)
