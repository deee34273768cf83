"""Payloads: readable while they are small, stored once when they are large, refused above the
limit.
"""

import json
import random

import pytest
from loom_runner import AgentRunner, Complete, SQLiteStore, ToolRegistry
from loom_runner._model.records import Owner
from loom_runner._model.writes import LeaseRequest, NewRun, ToolEnd, ToolStart
from loom_runner._store.cells import BLOB_ABOVE_BYTES, PLAIN_UP_TO_BYTES
from loom_runner.errors import PayloadTooLarge, StateEncodeError, StoreDamaged

ALICE = LeaseRequest(Owner("machine", 1, "born"), 15.0, "code-1", "agent.py:1")


@pytest.mark.parametrize("letter", ["a", "ä", "🙂"])
@pytest.mark.parametrize("size", [0, PLAIN_UP_TO_BYTES, PLAIN_UP_TO_BYTES + 1, BLOB_ABOVE_BYTES, BLOB_ABOVE_BYTES + 4])
def test_every_text_comes_back_as_it_was(store, letter, size):
    text = letter * (size // len(letter.encode()))
    cell = store._cells.put(text, "it")
    assert store._cells.get(cell, "it") == text
    large = len(text.encode()) > PLAIN_UP_TO_BYTES
    assert isinstance(cell, bytes) == large


def test_equal_large_payloads_are_stored_once(store):
    first, second = store._cells.put("x" * 100_000, "it"), store._cells.put("x" * 100_000, "it")
    assert first == second
    assert store._file.db.execute("SELECT size_bytes FROM blobs").fetchall() == [(100_000,)]


def test_a_list_may_show_the_head_of_a_large_payload_instead_of_all_of_it(store, go):
    large = json.dumps("word " * 30_000)

    async def main():
        claim = await store.create_run(NewRun("r", "step", "0", "0", 1), ALICE)
        for number, payload in enumerate((large, '"small"')):
            await store.start_tool(claim, ToolStart(0, f"look/{number}", "look", "{}", "hash", 1))
            await store.end_tool(claim, 0, f"look/{number}", ToolEnd("done", 2, payload))

    go(main())
    assert [call.result for call in store.reader.tool_calls("r")] == [large, '"small"']
    big, small = store.reader.tool_calls("r", whole=False)
    shown = json.loads(big.result)
    assert (shown["size_bytes"], len(shown["blob"]), shown["head"]) == (len(large), 64, large[:200])
    assert small.result == '"small"'
    assert [call.number for call in store.reader.tool_calls("r", first=big.number + 1)] == [small.number]
    assert [call.number for call in store.reader.tool_calls("r", limit=1)] == [big.number]


def test_a_payload_above_the_cap_is_refused_by_name(tmp_path, go):
    with SQLiteStore(tmp_path / "a.sqlite", "process", max_payload_bytes=100_000) as store:
        with pytest.raises(PayloadTooLarge, match=r"cannot store the input: it is 100 KB, and the cap is 100 KB"):
            go(store.create_run(NewRun("r", "step", "1" * 100_001, "0", 1), ALICE))
        assert store.reader.list_runs() == []
        assert store.reader.facts()["blobs"] == 0


def test_a_tool_whose_result_is_above_the_cap_is_recorded_as_failed_not_left_in_doubt(tmp_path, go):
    tools = ToolRegistry()

    @tools.tool("dump")
    async def dump() -> str:
        return "x" * 200_000

    async def step(state, ctx):
        try:
            await ctx.call_tool("dump")
        except Exception as exc:
            return Complete(getattr(exc, "error_category", type(exc).__name__))

    with SQLiteStore(tmp_path / "a.sqlite", "process", max_payload_bytes=100_000) as store:
        result = go(AgentRunner(step=step, store=store, tools=tools).start(run_id="r", initial_state=0))
        assert result.result == "bad_result"
        [call] = store.reader.tool_calls("r")
        assert (call.status, call.error.category) == ("failed", "bad_result")


def test_half_a_surrogate_pair_is_refused(store):
    with pytest.raises(StateEncodeError, match="cannot store it: it is not Unicode"):
        store._cells.put("\ud800", "it")


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("DELETE FROM blobs", "its blob .* is missing"),
        ("UPDATE blobs SET content = substr(content, 1, 50)", "it is damaged"),
        ("UPDATE blobs SET content = CAST('other' AS BLOB)", "its first byte is unknown"),
        ("UPDATE blobs SET content = 'other'", "has another content"),
    ],
)
def test_a_damaged_blob_is_named_and_never_a_wrong_text(store, sql, why):
    cell = store._cells.put(random.Random(1).randbytes(50_000).hex(), "it")
    store._file.db.execute(sql)
    with pytest.raises(StoreDamaged, match=why):
        store._cells.get(cell, "the result of fetch")
