"""The contract of a store, as tests. An implementation of `Store` is correct when it passes them.

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self, tmp_path):
            with MyStore(tmp_path / "runs.db") as store:
                yield store

        def again(self, store):
            return MyStore(store.address)

The tests use only the protocol (`loom_runner.Store`). A lease of 0 seconds expires at once, so the
tests need not wait.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from loom_runner._model.records import AttemptRecord, ErrorInfo
from loom_runner._model.retention import Last
from loom_runner._model.writes import AttemptEnd, ToolEnd
from loom_runner.errors import LeaseLost, StepPruned, UnknownRun, UnknownStep
from loom_runner.testing._contract_base import ALICE, BOB, CALL, LARGE, LAST, NEW, STEP, refused, run
from loom_runner.testing._query_contract import QueryContract
from loom_runner.testing._wait_contract import WaitContract

if TYPE_CHECKING:
    from loom_runner._model.records import Claim
    from loom_runner._store.protocol import Store

__all__ = ["StoreContract"]


class StoreContract(WaitContract, QueryContract):
    """The tests of a store. A subclass provides the pytest fixture `store`: an open store without
    runs.
    """

    # ------------------------------------------------------------------ runs and claims

    def test_a_new_run_is_held_by_its_maker(self, store: Store) -> None:
        claim = self.begin(store)
        record = store.reader.get_run("r")
        assert record is not None
        assert (record.status, record.program, record.step_index) == ("running", "step", 0)
        assert (record.state, record.input, record.result, record.error) == ('{"n":0}', '{"ask":1}', None, None)
        assert (record.owner, record.is_leased, record.fence) == (ALICE.owner, True, claim.fence)
        [lease] = store.reader.leases("r")
        assert (lease.owner, lease.code, lease.code_at, lease.module) == (
            ALICE.owner,
            "code-1",
            "agent.py:1",
            "agent.py",
        )
        assert (lease.first_step, lease.ended_at, lease.ended_as) == (0, None, None)

    def test_an_id_is_taken_once_and_its_run_stays_as_it_is(self, store: Store) -> None:
        self.begin(store)
        assert run(store.create_run(replace(NEW, state='{"n":9}'), BOB)) is None
        record = store.reader.get_run("r")
        assert record is not None
        assert (record.state, record.owner) == ('{"n":0}', ALICE.owner)

    def test_a_run_that_is_not_there_has_no_rows(self, store: Store) -> None:
        assert store.reader.get_run("nobody") is None
        assert store.reader.list_runs() == []
        reads = (
            store.reader.steps,
            store.reader.attempts,
            store.reader.tool_calls,
            store.reader.tool_tries,
            store.reader.leases,
            store.reader.signals,
        )
        assert [list(read("nobody")) for read in reads] == [[]] * 6
        with refused(UnknownRun):
            store.reader.summary("nobody")
        with refused(UnknownRun):
            run(store.send_signal("nobody", "go", "1", 1))

    def test_a_run_that_is_held_cannot_be_claimed(self, store: Store) -> None:
        self.begin(store)
        seen = store.reader.get_run("r")
        assert seen is not None
        assert run(store.claim_run(seen, BOB, take_over=False)) is None

    def test_a_lease_that_ran_out_can_be_claimed_and_the_crash_is_on_record(self, store: Store) -> None:
        first = self.begin(store, lease=replace(ALICE, lease_s=0.0))
        seen = store.reader.get_run("r")
        assert seen is not None
        assert not seen.is_leased
        second = run(store.claim_run(seen, BOB, take_over=False))
        assert second.fence > first.fence
        record = store.reader.get_run("r")
        assert record is not None
        assert (record.owner, record.crashes, record.status) == (BOB.owner, 1, "running")
        [attempt] = store.reader.attempts("r")
        assert (attempt.kind, attempt.step_index, attempt.fence) == ("interrupted", 0, first.fence)
        assert [lease.ended_as for lease in store.reader.leases("r")] == ["lost", None]

    def test_of_two_who_saw_the_same_row_one_gets_the_run(self, store: Store) -> None:
        self.begin(store, lease=replace(ALICE, lease_s=0.0))
        seen = store.reader.get_run("r")
        assert seen is not None
        assert run(store.claim_run(seen, BOB, take_over=True)) is not None
        assert run(store.claim_run(seen, ALICE, take_over=True)) is None

    def test_of_many_who_claim_at_once_exactly_one_gets_the_run(self, store: Store) -> None:
        self.begin(store, lease=replace(ALICE, lease_s=0.0))
        seen = store.reader.get_run("r")
        assert seen is not None
        others = [self.again(store) for _ in range(4)]
        claims: list[Claim | None] = []
        ready = threading.Barrier(len(others))

        def race(other: Store) -> None:
            ready.wait()
            claims.append(run(other.claim_run(seen, BOB, take_over=True)))

        threads = [threading.Thread(target=race, args=(other,)) for other in others]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for other in others:
            if other is not store:
                other.close()
        assert len([claim for claim in claims if claim is not None]) == 1
        assert len(store.reader.leases("r")) == 2

    def test_a_run_that_was_given_back_is_claimed_without_a_crash(self, store: Store) -> None:
        claim = self.begin(store)
        run(store.commit_step(claim, replace(STEP, status="paused", lease_end="paused", note="max_steps 1")))
        seen = store.reader.get_run("r")
        assert seen is not None
        assert (seen.status, seen.owner) == ("paused", None)
        again = run(store.claim_run(seen, BOB, take_over=False))
        record = store.reader.get_run("r")
        assert record is not None
        assert (record.status, record.crashes, record.fence) == ("running", 0, again.fence)
        leases = [(lease.ended_as, lease.note, lease.first_step) for lease in store.reader.leases("r")]
        assert leases == [("paused", "max_steps 1", 0), (None, None, 1)]

    def test_leases_are_prolonged_and_lost_ones_named(self, store: Store) -> None:
        first, other = self.begin(store), self.begin(store, "s")
        second = self.takes(store)
        assert store.renew([first, second, other]) == [first]

    # ------------------------------------------------------------------ steps

    def test_a_step_moves_the_run_and_leaves_its_row(self, store: Store) -> None:
        claim = self.begin(store)
        run(store.commit_step(claim, STEP))
        record = store.reader.get_run("r")
        assert record is not None
        assert (record.step_index, record.state, record.status, record.is_leased) == (1, '{"n":1}', "running", True)
        [step] = store.reader.steps("r")
        assert (step.step_index, step.outcome, step.state, step.attempts) == (0, "continue", '{"n":1}', 1)
        assert (step.started_at, step.ended_at, step.fence) == (1_000, 2_000, claim.fence)

    def test_a_step_is_committed_once_and_in_order(self, store: Store) -> None:
        claim = self.begin(store)
        run(store.commit_step(claim, STEP))
        for index in (0, 2):
            with refused(LeaseLost):
                run(store.commit_step(claim, replace(STEP, step_index=index)))
        assert [step.step_index for step in store.reader.steps("r")] == [0]

    def test_the_last_step_gives_the_run_back(self, store: Store) -> None:
        claim = self.begin(store)
        run(store.commit_step(claim, LAST))
        record = store.reader.get_run("r")
        assert record is not None
        assert (record.status, record.result, record.state, record.owner) == ("completed", "7", '{"n":0}', None)
        assert store.reader.steps("r")[0].state is None

    def test_states_of_every_size_come_back_as_they_were(self, store: Store) -> None:
        claim = self.begin(store)
        states = ['{"n":0}', LARGE, LARGE[:-1] + ' and more"', '"ä🙂"', LARGE, LARGE, "0"]
        for index, state in enumerate(states):
            run(store.commit_step(claim, replace(STEP, step_index=index, state=state)))
        assert [step.state for step in store.reader.steps("r")] == states
        assert [step.state for step in store.reader.steps("r", first=2, limit=3)] == states[2:5]
        assert [step.state for step in store.reader.steps("r", states=False)] == [None] * 7
        assert [store.reader.state_after("r", index) for index in range(-1, 7)] == ['{"ask":1}', *states]
        with refused(UnknownStep):
            store.reader.state_after("r", 7)
        record = store.reader.get_run("r")
        assert record is not None
        assert record.state == "0"

    def test_steps_that_are_not_kept_are_dropped_and_say_so(self, store: Store) -> None:
        claim = self.begin(store)
        for index in range(5):
            run(store.commit_step(claim, replace(STEP, step_index=index, state=str(index))))
        run(store.commit_step(claim, replace(LAST, step_index=5, keep=Last(2))))
        assert [step.step_index for step in store.reader.steps("r")] == [4, 5]
        with refused(StepPruned):
            store.reader.state_after("r", 3)
        assert store.reader.state_after("r", 5) == "4"

    def test_sums_of_a_run(self, store: Store) -> None:
        claim = self.begin(store)
        for index, took in enumerate((10, 30, 20)):
            run(store.commit_step(claim, replace(STEP, step_index=index, ended_at=1_000 + took)))
        summary = store.reader.summary("r")
        assert (summary.work_us, summary.slowest_step, summary.slowest_us, summary.tool_calls) == (60, 1, 30, 0)

    # ------------------------------------------------------------------ fencing

    def test_nothing_is_written_with_an_old_fence(self, store: Store) -> None:
        old = self.begin(store)
        run(store.start_tool(old, CALL))
        self.takes(store)

        def rows() -> list[Any]:
            record = store.reader.get_run("r")
            assert record is not None
            fixed = replace(record, lease_left_s=0.0)
            return [
                fixed,
                store.reader.steps("r"),
                store.reader.attempts("r"),
                store.reader.tool_calls("r"),
                store.reader.leases("r"),
            ]

        before = rows()
        for write in (
            store.commit_step(old, STEP),
            store.commit_step(old, LAST),
            store.end_attempt(old, AttemptEnd("failed", 9, lease_end="failed")),
            store.start_tool(old, replace(CALL, key="other/0")),
            store.restart_tool(old, CALL),
            store.end_tool(old, 0, "fetch/0", ToolEnd("done", 9, "1")),
        ):
            with refused(LeaseLost):
                run(write)
        assert rows() == before

    def test_of_writes_that_are_made_at_once_only_the_fenced_one_fails(self, store: Store) -> None:
        claims = [self.begin(store, name) for name in "abcd"]
        self.takes(store, "b")

        async def all_at_once() -> list[Any]:
            writes = (store.commit_step(claim, STEP) for claim in claims)
            return await asyncio.gather(*writes, return_exceptions=True)

        assert [type(result) for result in run(all_at_once())] == [type(None), LeaseLost, type(None), type(None)]
        assert [len(store.reader.steps(name)) for name in "abcd"] == [1, 0, 1, 1]

    # ------------------------------------------------------------------ attempts

    def test_a_failed_attempt_is_a_row_and_is_counted_until_the_step_is_committed(self, store: Store) -> None:
        claim = self.begin(store)
        error = ErrorInfo("TimeoutError", "slow", "transient", "agent.py:3", "Traceback ...")
        failed = AttemptRecord(0, 0, "failed", 1_000, 2_000, error, 5_000, claim.fence)
        run(store.end_attempt(claim, AttemptEnd("running", 2_000, failed=failed, due_at=5_000)))
        assert store.reader.attempts("r") == [failed]
        record = store.reader.get_run("r")
        assert record is not None
        assert (record.failures, record.due_at, record.is_leased) == (1, 5_000, True)
        run(store.commit_step(claim, replace(STEP, attempts=2)))
        record = store.reader.get_run("r")
        assert record is not None
        assert (record.failures, record.due_at) == (0, None)

    def test_a_run_that_failed_keeps_its_state_and_its_error_until_it_is_claimed(self, store: Store) -> None:
        claim = self.begin(store)
        error = ErrorInfo("ValueError", "bad")
        run(store.end_attempt(claim, AttemptEnd("failed", 2_000, error=error, lease_end="failed", note="why")))
        record = store.reader.get_run("r")
        assert record is not None
        assert (record.status, record.error, record.state, record.owner) == ("failed", error, '{"n":0}', None)
        self.takes(store)
        record = store.reader.get_run("r")
        assert record is not None
        assert record.error is None

    # ------------------------------------------------------------------ tool calls

    def test_a_call_is_new_once_and_found_after_that_as_it_was(self, store: Store) -> None:
        claim = self.begin(store)
        assert run(store.start_tool(claim, CALL)) is None
        found = run(store.start_tool(claim, replace(CALL, arguments="{}", arguments_hash="another")))
        assert (found.status, found.arguments, found.arguments_hash, found.tries) == (
            "started",
            '{"url": "x"}',
            "hash",
            1,
        )
        run(store.end_tool(claim, 0, "fetch/0", ToolEnd("done", 2_000, LARGE)))
        found = run(store.start_tool(claim, CALL))
        assert (found.status, found.result, found.is_in_doubt) == ("done", LARGE, False)
        assert store.reader.tool_calls("r") == [found]
        assert store.reader.tool_call("r", 0, "fetch/0") == found
        assert store.reader.tool_call("r", 0, "other") is None
        [head] = store.reader.tool_calls("r", whole=False)
        assert len(head.result or "") < 1_000

    def test_calls_come_in_the_order_of_their_first_start_and_by_pages(self, store: Store) -> None:
        claim = self.begin(store)
        for name in "bca":
            run(store.start_tool(claim, replace(CALL, key=f"{name}/0", name=name)))
        calls = store.reader.tool_calls("r")
        assert [call.name for call in calls] == ["b", "c", "a"]
        assert [call.name for call in store.reader.tool_calls("r", first=calls[1].number, limit=1)] == ["c"]

    def test_an_earlier_try_is_kept_when_a_call_is_made_again(self, store: Store) -> None:
        first = self.begin(store)
        run(store.start_tool(first, CALL))
        second = self.takes(store)
        run(store.restart_tool(second, replace(CALL, at=9_000)))
        [call], [earlier] = store.reader.tool_calls("r"), store.reader.tool_tries("r")
        assert (call.tries, call.started_at, call.fence, call.status) == (2, 9_000, second.fence, "started")
        assert (earlier.number, earlier.ordinal, earlier.status) == (call.number, 1, "started")
        assert (earlier.started_at, earlier.ended_at, earlier.fence) == (1_500, None, first.fence)
        assert store.reader.summary("r").tool_repeated == 1

    def test_a_call_without_an_end_is_in_doubt_when_its_holder_is_gone(self, store: Store) -> None:
        claim = self.begin(store)
        run(store.start_tool(claim, CALL))
        [call] = store.reader.tool_calls("r", open_only=True)
        assert not call.is_in_doubt
        second = self.takes(store)
        [doubt] = store.reader.tool_calls(open_only=True)
        assert doubt.is_in_doubt
        assert doubt.owner == ALICE.owner
        run(store.end_tool(second, 0, "fetch/0", ToolEnd("failed", 9, error=ErrorInfo("E", "m"), retryable=True)))
        assert store.reader.tool_calls(open_only=True) == []
        [call] = store.reader.tool_calls("r")
        assert (call.status, call.error, call.retryable, call.ended_at) == ("failed", ErrorInfo("E", "m"), True, 9)

    def test_of_two_answers_about_a_doubt_the_first_counts_and_ends_the_call(self, store: Store) -> None:
        claim = self.begin(store)
        run(store.start_tool(claim, CALL))
        [seen] = store.reader.tool_calls("r")
        assert run(store.decide_tool(seen, ToolEnd("done", 3_000, "1"), "ann")) is True
        assert run(store.decide_tool(seen, ToolEnd("retry", None), "bob")) is False
        with refused(LeaseLost):  # the process that seemed to be gone
            run(store.end_tool(claim, 0, "fetch/0", ToolEnd("done", 4_000, "2")))
        [call] = store.reader.tool_calls("r")
        assert (call.status, call.result, call.decided_by) == ("done", "1", "ann")

    # ------------------------------------------------------------------ signals, lists, durability

    def test_signals_are_kept_in_order_and_taken_by_a_step(self, store: Store) -> None:
        claim = self.begin(store)
        for name, payload in (("go", "1"), ("go", "2"), ("stop", LARGE)):
            run(store.send_signal("r", name, payload, 1_000))
        first = store.reader.signals("r", name="go")[0]
        run(store.commit_step(claim, replace(STEP, signal_key=first.key)))
        assert [signal.payload for signal in store.reader.signals("r", name="go")] == ["2"]
        assert [(signal.payload, signal.taken_in_step) for signal in store.reader.signals("r")] == [
            ("1", 0),
            ("2", None),
            (LARGE, None),
        ]

    def test_runs_are_listed_latest_first_and_by_pages(self, store: Store) -> None:
        for number in range(5):
            run(store.create_run(replace(NEW, run_id=f"r{number}", at=number), ALICE))
        page = store.reader.list_runs(limit=2)
        assert [record.run_id for record in page] == ["r4", "r3"]
        assert [record.run_id for record in store.reader.list_runs(limit=9, after=page[-1])] == ["r2", "r1", "r0"]

    def test_what_was_written_is_there_for_whoever_opens_the_database(self, store: Store) -> None:
        claim = self.begin(store)
        run(store.start_tool(claim, CALL))
        run(store.end_tool(claim, 0, "fetch/0", ToolEnd("done", 2_000, LARGE)))
        run(store.commit_step(claim, replace(STEP, state=LARGE)))
        run(store.send_signal("r", "go", "1", 1))
        other = self.again(store)
        try:
            assert [step.state for step in other.reader.steps("r")] == [LARGE]
            assert [call.result for call in other.reader.tool_calls("r")] == [LARGE]
            assert [signal.payload for signal in other.reader.signals("r")] == ["1"]
            record = other.reader.get_run("r")
            assert record is not None
            assert (record.step_index, record.state, record.owner) == (1, LARGE, ALICE.owner)
            run(other.commit_step(claim, replace(STEP, step_index=1)))  # the same claim, by another connection
        finally:
            if other is not store:
                other.close()
        assert len(store.reader.steps("r")) == 2

    def test_closing_twice_is_harmless(self, store: Store) -> None:
        claim = self.begin(store)
        store.close()
        store.close()
        assert store.renew([claim]) == []
