"""Addresses of databases, as `open_store`, `open_side_tables`, `SQLiteStore` and `EventLog` take
them.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from loom_runner import RunnerError, SQLiteStore, StoreError, UsageError
from loom_runner._store.address import database_exists
from loom_runner._store.sqlite.event_log import EventLog
from loom_runner.errors import StoreUnreadable
from loom_runner.store import open_side_tables, open_store

OPENERS = [
    open_store,
    SQLiteStore,
    EventLog,
    database_exists,
    lambda address: open_side_tables(address, "notes", ["CREATE TABLE note (text TEXT)"]),
]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(error, open_it, address):
    """Return the message, which is one line without a secret; no file was created."""
    with pytest.raises(error) as caught:
        open_it(address)
    text = str(caught.value)
    assert text.startswith("cannot ")
    assert "\n" not in text
    assert "secret" not in text
    assert not any(Path.cwd().iterdir())
    return text


@pytest.mark.parametrize("open_it", OPENERS)
@pytest.mark.parametrize(
    ("address", "scheme"),
    [
        ("mongodb://ann:secret@host/db", "mongodb"),
        ("postgresql+psycopg://ann:secret@host/db", "postgresql+psycopg"),
        ("sqlite+aiosqlite:///x.db", "sqlite+aiosqlite"),
        ("my-store://ann:secret@host", "my-store"),
        ("my_store.2://ann:secret@host", "my_store.2"),
        (" postgres://ann:secret@host/db", "postgres"),
        ("postgres:/ann:secret@host/db", "postgres"),
        ("postgres:ann:secret@host/db", "postgres"),
        (Path("postgres://ann:secret@host/db"), "postgres"),
        ("ann:secret@host/db", "ann"),
        ("x://ann:secret@host/db", "x"),
        ("://ann:secret@host/db", ""),
        ("sqlite:///postgres://ann:secret@host/db", "postgres"),
        ("file:x.db", "file"),
        ("FILE:///x.db", "file"),
        ("sqlite:///" * 2000 + "file:x.db", "file"),
    ],
)
def test_an_unknown_scheme_is_refused_without_showing_what_follows(open_it, address, scheme):
    assert f"no store supports the scheme {scheme!r}" in refusal(UsageError, open_it, address)


@pytest.mark.parametrize("open_it", OPENERS)
@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("", "without a name"),
        ("   ", "without a name"),
        ("\t\n", "without a name"),
        ("sqlite:///", "without a name"),
        ("sqlite:/// ", "without a name"),
        ("a\0b", "the name contains a NUL character"),
        ("sqlite:///a\0b", "the name contains a NUL character"),
        ("caf\udce9.db", "the name is not UTF-8"),
        ("sqlite:x.db", "begins with sqlite:///"),
        ("sqlite:/x.db", "begins with sqlite:///"),
        ("sqlite://x.db", "begins with sqlite:///"),
        ("sqlite://ann:secret@host/x.db", "begins with sqlite:///"),
        ("sqlite://", "begins with sqlite:///"),
        ("sqlite:///x.db?key=secret", "takes no parameters"),
    ],
)
def test_an_address_that_names_no_file_is_refused(open_it, address, why):
    assert why in refusal(UsageError, open_it, address)


class BytesPath:
    def __fspath__(self):
        return b"secret.db"


@pytest.mark.parametrize("open_it", OPENERS)
@pytest.mark.parametrize(
    ("address", "kind"),
    [(None, "NoneType"), (5, "int"), (True, "bool"), (b"secret.db", "bytes"), (["a"], "list"), (BytesPath(), "bytes")],
)
def test_an_address_that_is_no_text_and_no_path_is_refused(open_it, address, kind):
    assert f"an address is a str or a path, not {kind}." in refusal(UsageError, open_it, address)


class TextPath:
    def __fspath__(self):
        return "runs.sqlite"


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("sqlite:///runs.sqlite", "runs.sqlite"),
        ("SQLite:///runs.sqlite", "runs.sqlite"),
        ("sqlite:///sub/../a b%20c.db", "sub/../a b%20c.db"),
        (TextPath(), "runs.sqlite"),
        (Path("runs.sqlite"), "runs.sqlite"),
        ("12:30.sqlite", "12:30.sqlite"),
        ("prod:runs.sqlite", "prod:runs.sqlite"),
        ("./sqlite:x.db", "./sqlite:x.db"),
        ("what?.db", "what?.db"),
    ],
)
def test_a_url_or_path_opens_the_file_that_it_names(folder, address, name):
    (folder / "sub").mkdir()
    assert not database_exists(address)
    with open_store(address) as store:
        assert store.address == name
    with open_store(store.address, read_only=True) as store:
        assert store.address == name
    assert database_exists(address)
    assert (folder / name).exists()


def test_a_url_names_an_absolute_file_with_four_slashes(folder):
    with open_store(f"sqlite:///{folder}/runs.sqlite") as store:
        assert store.address == str(folder / "runs.sqlite")
    assert (folder / "runs.sqlite").exists()


def test_memory_is_a_database_without_a_file(folder):
    for address in (":memory:", "sqlite:///:memory:"):
        assert open_store(address).durability == "memory"
    assert not any(Path.cwd().iterdir())


# ------------------------------------------------------------------ files that cannot be opened


@pytest.mark.parametrize("open_it", OPENERS)
def test_a_name_that_is_too_long_is_refused(open_it):
    assert "File name too long" in refusal(StoreUnreadable, open_it, "x" * 300)


@pytest.mark.parametrize("open_it", [one for one in OPENERS if one is not database_exists])
def test_a_device_is_refused(open_it):
    assert "it is not a regular file" in refusal(StoreUnreadable, open_it, "/dev/null")
    assert "there is no folder /dev/null" in refusal(StoreUnreadable, open_it, "/dev/null/x.db")


@pytest.mark.parametrize("open_it", [one for one in OPENERS if one is not database_exists])
def test_a_missing_driver_is_named(open_it, monkeypatch):
    monkeypatch.setitem(sys.modules, "apsw", None)
    assert "the package apsw cannot be imported" in refusal(StoreError, open_it, "runs.sqlite")


AS_NOBODY = """
import os, sys
from loom_runner import RunnerError
from loom_runner.store import open_store, open_side_tables
from loom_runner._store.address import database_exists
import apsw, loom_runner._store.sqlite.store, loom_runner._store.sqlite.side_tables
if os.geteuid() == 0:
    os.setgid(65534); os.setuid(65534)
for open_it in (open_store, lambda p: open_store(p, read_only=True), lambda p: open_side_tables(p, "n", []), database_exists):
    try:
        open_it(sys.argv[1])
    except RunnerError as exc:
        print(type(exc).__name__, exc)
"""


def test_a_folder_without_permission_is_refused():
    with tempfile.TemporaryDirectory() as name:  # nobody may not enter pytest's own folders
        Path(name).chmod(0o755)
        closed = Path(name) / "closed"
        closed.mkdir()
        closed.chmod(0o000)
        done = subprocess.run([sys.executable, "-c", AS_NOBODY, f"{closed}/x.db"], capture_output=True, text=True)
        closed.chmod(0o755)
        said = f"StoreUnreadable cannot open {closed}/x.db: Permission denied. "
    lines = done.stdout.splitlines()
    assert len(lines) == 4, done.stderr
    for line in lines:
        assert line.startswith(said)


# ------------------------------------------------------------------ options


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"max_state_bytes": -1}, "max_state_bytes=-1: it is a number of bytes, 1 or more"),
        ({"max_state_bytes": "x"}, "max_state_bytes='x': it is a number of bytes"),
        ({"max_payload_bytes": True}, "max_payload_bytes=True: it is a number of bytes"),
        ({"max_payload_bytes": 0}, "max_payload_bytes=0: it is a number of bytes"),
        ({"keys": "secret"}, "keys are a KeyRing, not str"),
        ({"keep": 5}, "cannot keep '5'"),
        ({"keep": "some"}, "some"),
        ({"durability": "eternal"}, "durability 'eternal'"),
    ],
)
def test_a_bad_option_is_refused_before_a_file_is_created(options, why):
    assert why in refusal(RunnerError, lambda address: open_store(address, **options), "runs.sqlite")
