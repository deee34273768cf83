"""The settings of the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of the server; those of the site are in `loom-ops.toml`.

    Args:
        db: The database of the runs, the same as `loom-ops --db`; the first step creates it.
        folder: The workspace; None for the current folder.
        config: The settings of the site; None for `loom-ops.toml` in the folder, if it exists.
        asks: Whether a client that can ask its user is asked to approve, where the policy of the
            step lets that person.
        is_owners: Whether the only token over HTTP was generated for the user who started the
            server, who then is the person behind it.
    """

    db: str = "ops.sqlite"
    folder: Path | None = None
    config: Path | None = None
    asks: bool = True
    is_owners: bool = False
