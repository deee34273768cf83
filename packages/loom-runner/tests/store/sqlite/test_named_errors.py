"""Errors of SQLite become messages that say what to do."""

import os

import apsw
from loom_runner._store.sqlite import named_errors
from loom_runner.errors import StoreUnreadable


def test_a_database_of_another_user_is_named_with_its_owner_and_mode(tmp_path, monkeypatch):
    path = tmp_path / "runs.sqlite"
    path.touch(mode=0o600)
    monkeypatch.setattr(named_errors.os, "access", lambda path, mode: False)
    error = named_errors.named(apsw.CantOpenError("unable to open database file"), str(path))
    assert isinstance(error, StoreUnreadable)
    assert str(error).startswith(f"cannot open {path}: it belongs to user {os.getuid()} ")
    assert str(error).endswith(
        ", and its mode is 0600. Run the command as its owner, who can also share it with a group: chmod g+rw."
    )
