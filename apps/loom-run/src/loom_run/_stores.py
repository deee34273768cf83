"""Open the database of a command, and name runs in it."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loom_runner import SQLiteStore
from loom_runner.cli_base import ExitCode

from loom_run._errors import LoomRunError


@contextmanager
def opened(db: str, *, existing: bool = False, read_only: bool = False) -> Iterator[SQLiteStore]:
    """Open the database, and close it at the end.

    Args:
        db: its path.
        existing: refuse to make a new one.
        read_only: write nothing.

    Raises:
        LoomRunError: there is no such database and `existing` is set.
        StoreError: it cannot be used.
    """
    if existing and not Path(db).exists():
        raise LoomRunError(
            f"cannot open {db}: because there is no such database. Start with loom-run chat, or name another --db.",
            exit_code=ExitCode.USAGE,
        )
    store = SQLiteStore(db, read_only=read_only)
    try:
        yield store
    finally:
        store.close()


def latest_chat(store: SQLiteStore) -> str:
    """Give the id of the chat that changed last.

    Raises:
        LoomRunError: there is none.
    """
    for record in store.list_runs(limit=1000):
        if '"conversation"' in record.state[:1000]:
            return record.run_id
    raise LoomRunError(f"cannot go on with the latest chat: because {store.description} has none. Start one.")


def new_run_id() -> str:
    """Make an id for a chat that nobody named."""
    return f"chat-{secrets.token_hex(4)}"
