"""The commands about encryption: create a key, encrypt a database or change its key."""

from __future__ import annotations

import click

from loom_runner._cli.options import db_option
from loom_runner._cli.output import write_error, write_line
from loom_runner._model.formatting import plural
from loom_runner._store.address import database_exists
from loom_runner.errors import UnknownRun, UsageError

__all__ = ["ENCRYPTION_COMMANDS"]


@click.command("new-key")
@click.argument("key_id", metavar="ID")
def new_key_command(key_id: str) -> None:
    """Create an encryption key with the id ID and print it.

    Save the line in a file that only you can read, and set LOOM_RUNNER_KEY_FILE to its path. Data
    that was encrypted with the key cannot be read without it.
    """
    from loom_runner._store.encryption_keys import KeyRing, new_key

    KeyRing({key_id: bytes(32)})  # refuses an id that could not be used
    write_line(new_key(key_id))


@click.command()
@db_option
def rekey(db: str) -> None:
    """Encrypt a database, or change its key.

    The first key of LOOM_RUNNER_KEY or LOOM_RUNNER_KEY_FILE encrypts everything; the others decrypt
    the old values. No other process may have the database open.
    """
    from loom_runner._store.encryption_keys import KeyRing
    from loom_runner._store.sqlite.store import SQLiteStore

    if not database_exists(db):
        raise UnknownRun(f"cannot rekey: there is no database {db}. Name it with --db.")
    keys = KeyRing.from_environment()
    if keys is None:
        raise UsageError(
            "cannot rekey: there is no key. Create one (loom-runner new-key 2026 > key), set LOOM_RUNNER_KEY_FILE=key."
        )
    count = SQLiteStore.rekey(db, keys)
    write_error(f"{db}: {plural(count, 'value')} encrypted with key {keys.key_id}.")


ENCRYPTION_COMMANDS: tuple[click.Command, ...] = (new_key_command, rekey)
