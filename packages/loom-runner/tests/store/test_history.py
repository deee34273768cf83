"""States of steps: their space is linear in their changes, and each of them can be read."""

import json
import random
from dataclasses import replace

import pytest
from loom_runner import SQLiteStore
from loom_runner._model.records import Owner
from loom_runner._model.writes import LeaseRequest, NewRun, StepCommit
from loom_runner.errors import PayloadTooLarge, StateError, StoreDamaged

ALICE = LeaseRequest(Owner("machine", 1, "born"), 15.0, "code-1", "agent.py:1")
BOB = LeaseRequest(Owner("machine", 2, "born"), 15.0, "code-2", "agent.py:2")


def turn(number: int) -> str:
    return "".join(random.Random(number).choices("abcdefghijklmnopqrstuvwxyz    ", k=768))


def chat(turns: int) -> list[str]:
    states = ['{"turns":[]}']
    said: list[str] = []
    for number in range(turns):
        said.append(turn(number))
        states.append(json.dumps({"n": number, "turns": said}, separators=(",", ":")))
    return states[1:]


def commit(index: int, state: str | None, **changes) -> StepCommit:
    return replace(StepCommit(index, "continue", "running", state, 1_000, 2_000, 1), **changes)


@pytest.fixture
def write(store, go):
    """Write states as the steps of run `r`, and give the claim."""

    def write(states, store=store, first=0, claim=None):
        if claim is None:
            claim = go(store.create_run(NewRun("r", "step", "{}", "{}", 1), ALICE))
        for index, state in enumerate(states, start=first):
            go(store.commit_step(claim, commit(index, state)))
        return claim

    return write


def kinds(store: SQLiteStore) -> str:
    rows = store._file.db.execute("SELECT state FROM steps ORDER BY step_index").fetchall()
    return "".join("j" if isinstance(cell, str) else "-" if cell is None else chr(cell[0]) for (cell,) in rows)


def test_small_states_are_readable_in_the_file(store, write):
    write(['{"n":0}', '{"n":1}'])
    assert kinds(store) == "jj"


def test_a_growing_state_takes_space_linear_in_its_changes_and_every_step_can_be_read(tmp_path, store, write):
    states = chat(120)
    write(states)
    assert [step.state for step in store.reader.steps("r")] == states
    assert [store.reader.steps("r", first=index, limit=1)[0].state for index in range(0, 120, 7)] == states[::7]
    assert store.reader.get_run("r").state == states[-1]
    assert 2 < kinds(store).count("z") < 12
    store.close()
    assert (tmp_path / "runs.sqlite").stat().st_size < 3 * len(states[-1]) + 200_000


def test_twice_the_turns_are_at_most_a_little_more_than_twice_the_bytes(store, write):
    write(chat(400))
    total = "SELECT sum(length(state)) FROM steps WHERE step_index < ?"
    sizes = [store._file.db.execute(total, (turns,)).get for turns in (200, 400)]
    assert sizes[1] < 2.3 * sizes[0], sizes


def test_keys_come_more_and_more_rarely_while_a_state_grows(store, write):
    write(chat(300))
    keys = [number for number, kind in enumerate(kinds(store)) if kind == "z"]
    gaps = [later - earlier for earlier, later in zip(keys[2:], keys[3:], strict=False)]
    assert gaps == sorted(gaps), keys


def test_a_state_that_is_replaced_at_every_step_is_stored_in_full(store, write):
    states = [json.dumps(random.Random(number).randbytes(4_000).hex()) for number in range(6)]
    write(states)
    assert kinds(store) == "zzzzzz"
    assert [step.state for step in store.reader.steps("r")] == states


def test_a_state_may_shrink_and_grow_and_be_left_as_it_was(store, write, go):
    large = chat(12)
    states = [large[8], '{"n":1}', large[8], large[9], large[9], large[10], "{}", large[11]]
    claim = write(states)
    go(store.commit_step(claim, commit(8, None, outcome="complete", status="completed", lease_end="completed")))
    assert [step.state for step in store.reader.steps("r")] == [*states, None]
    assert kinds(store) == "zjzdddjz-"


def test_another_process_continues_with_differences(tmp_path, store, write, go):
    states = chat(60)
    write(states[:50])
    with SQLiteStore(tmp_path / "runs.sqlite", "process") as other:
        claim = go(other.claim_run(other.reader.get_run("r"), BOB, take_over=True))
        write(states[50:], other, 50, claim)
    assert kinds(store)[45:].count("d") > 10
    assert [step.state for step in store.reader.steps("r")] == states


def test_a_state_whose_base_is_not_in_the_row_before_is_stored_in_full(store, write, go):
    """A fork may begin with a state that was changed by hand; no difference may be made against
    that.
    """
    states = chat(60)
    claim = write(states[:50])
    store._history.forget(claim.run_key)
    store._file.db.execute("UPDATE runs SET state = ?", (store._history.full(states[30] + " "),))
    write(states[50:], first=50, claim=claim)
    assert kinds(store)[50] == "z"
    assert [step.state for step in store.reader.steps("r", first=50)] == states[50:]


def test_a_write_that_failed_is_no_base_for_the_next(store, write, go):
    states = chat(60)
    claim = write(states[:50])
    with pytest.raises(ZeroDivisionError), store._transaction as db:
        store._commit_step(db, claim, commit(50, states[40] + "  "))
        1 / 0
    write(states[50:], first=50, claim=claim)
    assert [step.state for step in store.reader.steps("r")] == states


def test_a_damaged_row_is_named_and_rows_that_do_not_depend_on_it_can_be_read(store, write):
    states = chat(100)
    write(states)
    pattern = kinds(store)
    later_key = pattern.index("z", 40)
    store._file.db.execute(
        "UPDATE steps SET state = CAST(substr(state, 1, 30) || x'00' AS BLOB) WHERE step_index = ?", (later_key - 2,)
    )
    broken = later_key - 2
    with pytest.raises(StoreDamaged, match=f"cannot read the state of step {broken} of run 'r' in .*: it is damaged"):
        store.reader.steps("r")
    with pytest.raises(StoreDamaged, match=f"the state of step {broken}"):
        store.reader.steps("r", first=broken + 1, limit=1)
    assert [step.state for step in store.reader.steps("r", limit=broken)] == states[:broken]
    assert [step.state for step in store.reader.steps("r", first=later_key)] == states[later_key:]
    assert store.reader.get_run("r").state == states[-1]
    assert len(store.reader.steps("r", states=False)) == 100


def test_bytes_that_are_not_text_are_named(store, write):
    write(["1"])
    store._file.db.execute("UPDATE steps SET state = CAST(x'ff' AS TEXT)")
    with pytest.raises(StoreDamaged, match="contains a text that is not Unicode"):
        store.reader.steps("r")


def test_a_missing_base_is_named(store, write):
    write(chat(40))
    first_key = kinds(store).index("z")
    store._file.db.execute("DELETE FROM steps WHERE step_index <= ?", (first_key,))
    with pytest.raises(StoreDamaged, match=rf"the state of step {first_key + 1} of run 'r'.*based on are missing"):
        store.reader.steps("r")


def test_a_missing_row_in_the_middle_never_gives_a_wrong_state(store, write):
    write(chat(60))
    store._file.db.execute("DELETE FROM steps WHERE step_index = 50")
    with pytest.raises(StoreDamaged, match="the state of step 51 of run 'r' .* is damaged"):
        store.reader.steps("r")


def test_a_state_above_the_cap_is_refused_and_nothing_is_written(tmp_path, go):
    with SQLiteStore(tmp_path / "a.sqlite", "process", max_state_bytes=5_000) as store:
        claim = go(store.create_run(NewRun("r", "step", "{}", "{}", 1), ALICE))
        with pytest.raises(PayloadTooLarge, match=r"a state of 6.0 KB: the cap is 5.0 KB \(max_state_bytes") as caught:
            go(store.commit_step(claim, commit(0, json.dumps("x" * 6_000))))
        assert isinstance(caught.value, StateError)
        assert store.reader.steps("r") == []
        go(store.commit_step(claim, commit(0, "1")))
