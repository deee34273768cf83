"""Find chats in a database, and name new ones."""

import json
import secrets

from loom_runner import SQLiteStore

from loom_run._chat.turn import is_chat
from loom_run._errors import LoomRunError


def latest_chat(store: SQLiteStore) -> str:
    """Return the run id of the chat that was updated last.

    Raises:
        LoomRunError: There is none.
    """
    for record in store.reader.list_runs(limit=1000):
        if is_chat(json.loads(record.state)):
            return record.run_id
    raise LoomRunError(
        f'cannot continue the latest chat: there is none in {store.description}. Start one: loom-run chat "..."'
    )


def chat_run_id(store: SQLiteStore, name: str, *, existing: bool = True) -> str:
    """Return the run id of the chat with this name.

    That is the name itself, unless a run of another program has that id in this database: both may
    be called `demo` by users who do not know of each other. The chat then has the id `chat:demo`.

    Args:
        store: The database.
        name: The name that the user gives.
        existing: Return the name unchanged when there is no such chat.
    """
    record = store.reader.get_run(name)
    if record is None or is_chat(json.loads(record.state)):
        return name
    prefixed = f"chat:{name}"
    return name if existing and store.reader.get_run(prefixed) is None else prefixed


def new_run_id() -> str:
    """Return an id for a chat that has no name."""
    return f"chat-{secrets.token_hex(4)}"
