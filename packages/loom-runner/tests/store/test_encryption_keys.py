"""Encryption at rest: nothing that a user wrote is readable in the file, and a wrong key is one
error.
"""

import asyncio
import base64
import json
from dataclasses import replace

import pytest
from loom_runner import AgentRunner, Complete, Continue, KeyRing, SQLiteStore, ToolRegistry, UsageError, Wait
from loom_runner._store.encryption_keys import new_key
from loom_runner._store.sqlite.schema import CELLS
from loom_runner.errors import StoreBusy, StoreLocked, ToolFailed

OLD = KeyRing({"k1": b"1" * 32})
NEW = KeyRing({"k2": b"2" * 32, "k1": b"1" * 32})
CANARY = "canary-in-plain-text"
tools = ToolRegistry()


@tools.tool("look", idempotent=True)
async def look(what: str) -> str:
    return f"{what} {CANARY} " * 4_000  # large enough for a blob


@tools.tool("fail", idempotent=True)
async def fail(what: str) -> str:
    raise ToolFailed(f"no {CANARY}")


async def step(state, ctx):
    """Put the canary into every kind of value there is."""
    if ctx.step_index == 0:
        await ctx.call_tool("look", what=CANARY)
        return Continue({"said": f"{CANARY} {ctx.step_index} " * 1_000})
    if ctx.step_index == 1:
        try:
            await ctx.call_tool("fail", what=CANARY)
        except ToolFailed:
            return Wait({"said": f"{CANARY} " * 1_001}, signal="go")
    if ctx.step_index == 2 and ctx.attempt == 0:
        raise ConnectionError(CANARY)
    return Complete(CANARY)


def run_all(path, keys=None, run_id="r"):
    from loom_runner import RetryPolicy
    from loom_runner.testing import FakeClock

    with SQLiteStore(path, "process", keys=keys) as store:
        runner = AgentRunner(step=step, store=store, tools=tools, clock=FakeClock(), retry=RetryPolicy(max_attempts=3))

        async def drive():
            assert (await runner.start(run_id=run_id, initial_state={"ask": CANARY})).status == "waiting"
            await runner.signal(run_id=run_id, name="go", payload=CANARY)
            # What is in the log is looked at too, before closing moves it into the file.
            result = await runner.resume(run_id=run_id)
            return result, path.read_bytes() + path.with_name(path.name + "-wal").read_bytes()

        return asyncio.run(drive())


def everything(store, run_id="r"):
    return (
        replace(store.reader.get_run(run_id), lease_left_s=0.0),
        store.reader.steps(run_id),
        store.reader.attempts(run_id),
        store.reader.tool_calls(run_id),
        store.reader.signals(run_id),
    )


def test_nothing_that_a_user_wrote_is_in_the_file_or_its_log(tmp_path):
    result, content = run_all(tmp_path / "plain.sqlite")
    assert result.result == CANARY
    assert CANARY.encode() in content
    result, content = run_all(tmp_path / "sealed.sqlite", OLD)
    assert result.result == CANARY
    assert CANARY.encode() not in content
    assert CANARY.encode() not in (tmp_path / "sealed.sqlite").read_bytes()
    for table, column in CELLS:
        with SQLiteStore(tmp_path / "sealed.sqlite", keys=OLD) as store:
            cells = store._file.db.execute(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL").fetchall()
            assert all(isinstance(cell, bytes) and cell[:1] in b"sb" for (cell,) in cells), (table, column)


def test_encrypted_values_decode_to_the_original(tmp_path):
    run_all(tmp_path / "plain.sqlite")
    run_all(tmp_path / "sealed.sqlite", OLD)
    with SQLiteStore(tmp_path / "plain.sqlite") as plain, SQLiteStore(tmp_path / "sealed.sqlite", keys=OLD) as sealed:
        assert sealed.is_encrypted
        assert not plain.reader.is_encrypted
        one, two = everything(plain), everything(sealed)
    assert [step.state for step in one[1]] == [step.state for step in two[1]]
    assert [(call.arguments, call.result, call.error) for call in one[3]] == [
        (call.arguments, call.result, call.error) for call in two[3]
    ]
    assert [signal.payload for signal in two[4]] == [json.dumps(CANARY)]
    assert two[2][0].error.message == CANARY


@pytest.mark.parametrize("read_only", [False, True])
def test_a_missing_or_wrong_key_is_one_clear_line(tmp_path, read_only):
    run_all(tmp_path / "a.sqlite", OLD)
    before = (tmp_path / "a.sqlite").read_bytes()
    with pytest.raises(StoreLocked, match="encrypted with key 'k1', and no key was given. Set LOOM_RUNNER_KEY or"):
        SQLiteStore(tmp_path / "a.sqlite", read_only=read_only)
    with pytest.raises(StoreLocked, match="encrypted with key 'k1', and the keys given are k9"):
        SQLiteStore(tmp_path / "a.sqlite", keys=KeyRing({"k9": b"9" * 32}), read_only=read_only)
    with pytest.raises(StoreLocked, match="key 'k1' that was given is not the one it was encrypted with"):
        SQLiteStore(tmp_path / "a.sqlite", keys=KeyRing({"k1": b"9" * 32}), read_only=read_only)
    assert (tmp_path / "a.sqlite").read_bytes() == before


def test_a_command_without_the_key_ends_with_8_and_one_line(tmp_path, place, monkeypatch):
    run_all(tmp_path / "a.sqlite", OLD)
    done = place.call("get", "r", "--db", "a.sqlite")
    assert (done.returncode, len(done.stderr.splitlines())) == (8, 1)
    assert "LOOM_RUNNER_KEY" in done.stderr
    monkeypatch.setenv("LOOM_RUNNER_KEY", "k1:" + base64.b64encode(b"1" * 32).decode())
    done = place.call("get", "r", "--db", "a.sqlite", "--output", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["result"] == CANARY


def test_plain_text_and_encrypted_values_are_never_mixed(tmp_path):
    run_all(tmp_path / "a.sqlite")
    with pytest.raises(StoreLocked, match="contains runs in plain text. Encrypt it once with SQLiteStore.rekey"):
        SQLiteStore(tmp_path / "a.sqlite", keys=OLD)
    with SQLiteStore(tmp_path / "a.sqlite", keys=OLD, read_only=True) as store:
        assert store.reader.get_run("r").status == "completed"


def test_runs_that_were_deleted_leave_no_plain_text_in_a_file_that_is_encrypted_from_now_on(tmp_path):
    path = tmp_path / "a.sqlite"
    run_all(path)
    with SQLiteStore(path) as store:
        asyncio.run(store.prune())
        assert store.reader.list_runs() == []
    assert CANARY.encode() in path.read_bytes()
    with SQLiteStore(path, keys=OLD):
        log = path.with_name(path.name + "-wal")
        assert CANARY.encode() not in path.read_bytes() + log.read_bytes()
    run_all(path, OLD)


def test_a_database_in_plain_text_can_be_encrypted_and_its_key_changed(tmp_path):
    path = tmp_path / "a.sqlite"
    run_all(path)
    with SQLiteStore(path) as store:
        before = everything(store)
        with pytest.raises(StoreBusy):
            SQLiteStore.rekey(path, OLD)
    assert SQLiteStore.rekey(path, OLD) > 10
    assert CANARY.encode() not in path.read_bytes()
    with SQLiteStore(path, keys=OLD) as store:
        assert everything(store) == before
    SQLiteStore.rekey(path, NEW)
    only_new = KeyRing({"k2": b"2" * 32})
    with SQLiteStore(path, keys=only_new) as store:
        assert everything(store) == before
    run_all(path, only_new, "another")
    with pytest.raises(StoreLocked):
        SQLiteStore.rekey(path, OLD)
    with SQLiteStore(path, keys=only_new) as store:
        assert everything(store) == before


def test_the_second_key_of_a_ring_only_reads(tmp_path):
    path = tmp_path / "a.sqlite"
    run_all(path, OLD)
    run_all(path, NEW, "another")
    with SQLiteStore(path, keys=NEW) as store:
        assert store.reader.get_run("r").result == store.reader.get_run("another").result
    with pytest.raises(StoreLocked), SQLiteStore(path, keys=OLD) as store:
        store.reader.get_run("another")


def test_a_changed_byte_is_found(tmp_path):
    run_all(tmp_path / "a.sqlite", OLD)
    with SQLiteStore(tmp_path / "a.sqlite", keys=OLD) as store:
        (cell,) = store._file.db.execute("SELECT result FROM runs").fetchone()
        store._file.db.execute("UPDATE runs SET result = ?", (cell[:-1] + bytes([cell[-1] ^ 1]),))
        with pytest.raises(StoreLocked, match="cannot read the result of run r .*or the bytes were changed"):
            store.reader.get_run("r")


def test_keys_come_from_a_variable_or_a_file(tmp_path, monkeypatch):
    monkeypatch.delenv("LOOM_RUNNER_KEY", raising=False)
    monkeypatch.delenv("LOOM_RUNNER_KEY_FILE", raising=False)
    assert KeyRing.from_environment() is None
    line = new_key("k7")
    (tmp_path / "keys").write_text(f"# ours\n{line}\n{new_key('k6')}  # the one before\n")
    monkeypatch.setenv("LOOM_RUNNER_KEY_FILE", str(tmp_path / "keys"))
    assert KeyRing.from_environment().key_ids == ("k7", "k6")
    monkeypatch.setenv("LOOM_RUNNER_KEY", line.partition(":")[2])
    ring = KeyRing.from_environment()
    assert len(ring.key_ids[0]) == 8
    assert ring.unseal(ring.seal(b"x")) == b"x"


@pytest.mark.parametrize("text", ["", "k1:", "secret-words", "k1:c2hvcnQ=", "k1:" + "A" * 43, "#only"])
def test_a_key_that_is_none_is_refused_without_showing_it(text):
    with pytest.raises(UsageError, match="cannot read the key in LOOM_RUNNER_KEY") as caught:
        KeyRing.from_text(text, "LOOM_RUNNER_KEY")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("keys", [{}, {"": b"1" * 32}, {"a b": b"1" * 32}, {"k": b"short"}, {"x" * 41: b"1" * 32}])
def test_a_ring_of_nothing_or_of_misfits_is_refused(keys):
    with pytest.raises(UsageError, match="cannot use"):
        KeyRing(keys)


def test_a_missing_key_file_is_named(tmp_path):
    with pytest.raises(UsageError, match="cannot read the key file .*nowhere"):
        KeyRing.from_file(tmp_path / "nowhere")
