"""Addresses of databases: a path, or a URL whose scheme selects the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loom_runner.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["sqlite_path"]


def sqlite_path(address: str | Path) -> str:
    """Return the SQLite file that an address names.

    Args:
        address: A path, or `sqlite:///relative/path` or `sqlite:////absolute/path`; `:memory:` is a
            database without a file.

    Raises:
        UsageError: No store supports the scheme of the address, or the address names no file.
    """
    text = str(address)
    scheme, separator, rest = text.partition("://")
    if separator and scheme.isidentifier():
        if scheme != "sqlite":
            raise UsageError(
                f"cannot open {scheme}://...: no store serves the scheme {scheme!r}. Name a SQLite file, for instance "
                "runs.sqlite or sqlite:///runs.sqlite."
            )
        text = rest.removeprefix("/")
    if not text or "\0" in text:
        raise UsageError("cannot open a database without a name. Name a file, for instance runs.sqlite.")
    return text
