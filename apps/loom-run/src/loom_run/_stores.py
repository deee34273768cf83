"""Open the database of a command, and name runs in it."""

import json
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
            f"cannot open {db}: there is no such database. Start with loom-run chat, or name another --db.",
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
        if _is_chat(record.state):
            return record.run_id
    raise LoomRunError(f"cannot go on with the latest chat: {store.description} has none. Start one.")


def chat_name(store: SQLiteStore, name: str, *, existing: bool = True) -> str:
    """Give the run id under which the chat of this name is kept.

    That is the name itself, unless a run of another program has it in this database: both may be called `demo` by
    their users, who need not know of each other. The chat is then kept as `chat:demo`.

    Args:
        store: the database.
        name: what the user calls the chat.
        existing: give the name back unchanged when there is no such chat.
    """
    record = store.get_run(name)
    if record is None or _is_chat(record.state):
        return name
    kept = f"chat:{name}"
    return name if existing and store.get_run(kept) is None else kept


def _is_chat(state: str) -> bool:
    value = json.loads(state)
    return isinstance(value, dict) and "conversation" in value


def new_run_id() -> str:
    """Make an id for a chat that nobody named."""
    return f"chat-{secrets.token_hex(4)}"
