"""The part of the store contract about waits: when a run is ready, children, approvals, and
requests from outside.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from loom_runner._model.approvals import ApprovalRecord, Decision, with_decision
from loom_runner._model.records import ErrorInfo, Spent
from loom_runner._model.statuses import CANCELLABLE
from loom_runner._model.waits import ChildrenWait, DecisionWait, SignalWait, TimerWait
from loom_runner._model.writes import AttemptEnd, Cancelling, NewRun, ToolEnd
from loom_runner.errors import LeaseLost, PauseRequested, RunExists
from loom_runner.testing._contract_base import ALICE, BOB, CALL, LAST, NEW, STEP, ContractBase, refused, run

if TYPE_CHECKING:
    from loom_runner._model.records import Claim
    from loom_runner._model.waits import WaitFor
    from loom_runner._store.protocol import Store

__all__ = ["WaitContract"]

NOW: Final = 10_000
CHILDREN: Final = tuple(NewRun(f"r:sub:{name}", "child", "1", "1", 1_000) for name in "ab")
ERROR: Final = ErrorInfo("Cancelled", "cancelled by ann", "cancelled")


class WaitContract(ContractBase):
    """Tests about waits."""

    def waits(self, store: Store, wait: WaitFor, *, children: tuple[NewRun, ...] = ()) -> Claim:
        """Create a run whose first step ends in a wait."""
        claim = self.begin(store)
        due_at = wait.until if isinstance(wait, SignalWait | TimerWait) else None
        step = replace(STEP, outcome="wait", status="waiting", lease_end="waiting", wait=wait, due_at=due_at)
        run(store.commit_step(claim, replace(step, children=children)))
        return claim

    def asks(self, store: Store, *expiries: int | None, doubt: bool = False) -> None:
        """Create a run that waits for decisions about requests 1, 2, ..., and optionally about a
        call in doubt.
        """
        claim = self.begin(store)
        if doubt:
            run(store.start_tool(claim, CALL))
        requests = tuple(
            ApprovalRecord("r", number, 0, f"pay/{number}", "pay", "{}", "h", 1_000, at, needed=2)
            for number, at in enumerate(expiries, 1)
        )
        numbers = tuple(request.number for request in requests)
        wait = DecisionWait(1 if doubt else None, numbers)
        run(store.end_attempt(claim, AttemptEnd("waiting", 2_000, wait=wait, lease_end="waiting", asks=requests)))

    def ready(self, store: Store, now: int = NOW) -> list[str]:
        return sorted(record.run_id for record in run(store.ready_runs(["step", "child"], now)))

    # ------------------------------------------------------------------ ready

    def test_a_timer_is_ready_when_it_is_due(self, store: Store) -> None:
        self.waits(store, TimerWait(NOW))
        assert self.ready(store, NOW - 1) == []
        assert self.ready(store, NOW) == ["r"]
        record = store.reader.get_run("r")
        assert record is not None
        assert (record.status, record.wait, record.ready_at) == ("waiting", TimerWait(NOW), NOW)

    def test_a_wait_for_a_signal_is_ready_with_its_signal_or_its_time(self, store: Store) -> None:
        self.waits(store, SignalWait("go", NOW))
        run(store.send_signal("r", "stop", "1", 1))
        assert self.ready(store, NOW - 1) == []
        assert self.ready(store, NOW) == ["r"]
        run(store.send_signal("r", "go", "1", 1))
        assert self.ready(store, 1) == ["r"]

    def test_a_signal_that_came_before_the_wait_counts_once(self, store: Store) -> None:
        claim = self.begin(store)
        run(store.send_signal("r", "go", "1", 1))
        [signal] = run(store.signals("r", name="go"))
        wait = replace(STEP, outcome="wait", status="waiting", lease_end="waiting", wait=SignalWait("go"))
        run(store.commit_step(claim, wait))
        assert self.ready(store) == ["r"]
        claim = self.takes(store)
        run(store.commit_step(claim, replace(wait, step_index=1, signal_key=signal.key)))
        assert self.ready(store) == []

    def test_a_claimed_run_is_not_ready(self, store: Store) -> None:
        self.waits(store, TimerWait(NOW))
        self.takes(store)
        assert self.ready(store) == []
        record = store.reader.get_run("r")
        assert record is not None
        assert (record.status, record.ready_at) == ("running", None)

    def test_requests_are_ready_when_none_is_pending(self, store: Store) -> None:
        self.asks(store, None, None)
        first, second = run(store.approvals("r"))
        denied = with_decision(first, Decision("ann", "deny", 1))
        assert run(store.update_approval(first, denied))
        assert not run(store.update_approval(first, denied)), "it is no longer as it was seen"
        assert self.ready(store) == []
        half = with_decision(second, Decision("ann", "approve", 1))
        assert run(store.update_approval(second, half))
        assert self.ready(store) == []
        assert run(store.update_approval(half, with_decision(half, Decision("bob", "approve", 2))))
        assert self.ready(store) == ["r"]
        assert [row.status for row in store.reader.approvals("r")] == ["denied", "approved"]

    def test_requests_are_ready_when_all_have_expired(self, store: Store) -> None:
        self.asks(store, NOW - 5, NOW)
        assert self.ready(store, NOW - 1) == []
        assert self.ready(store, NOW) == ["r"]

    def test_a_doubt_is_ready_when_somebody_has_decided(self, store: Store) -> None:
        self.asks(store, doubt=True)
        assert self.ready(store) == []
        [call] = store.reader.tool_calls("r")
        assert call.status == "in_doubt"
        assert run(store.decide_tool(call, ToolEnd("retry", None), "ann"))
        assert self.ready(store) == ["r"]

    def test_a_doubt_and_requests_are_ready_when_both_are_decided(self, store: Store) -> None:
        self.asks(store, NOW, doubt=True)
        assert self.ready(store, NOW) == []
        [call] = store.reader.tool_calls("r")
        run(store.decide_tool(call, ToolEnd("done", 3, "1"), "ann"))
        assert self.ready(store, NOW - 1) == []
        assert self.ready(store, NOW) == ["r"]

    def test_only_runs_of_the_programs_asked_for_are_ready(self, store: Store) -> None:
        self.waits(store, TimerWait(NOW))
        assert run(store.ready_runs(["another"], NOW)) == []
        assert run(store.ready_runs([], NOW)) == []

    # ------------------------------------------------------------------ children

    def settle(self, store: Store, run_id: str) -> None:
        claim = self.takes(store, run_id)
        run(store.commit_step(claim, LAST))

    def test_children_are_created_with_the_step_and_end_its_wait(self, store: Store) -> None:
        self.waits(store, ChildrenWait(("r:sub:a", "r:sub:b"), 2, ("c", "c")), children=CHILDREN)
        assert self.ready(store) == ["r:sub:a", "r:sub:b"]
        assert [child.run_id for child in store.reader.children("r")] == ["r:sub:a", "r:sub:b"]
        assert [child.parent_run_id for child in store.reader.children("r")] == ["r", "r"]
        self.settle(store, "r:sub:a")
        assert self.ready(store) == ["r:sub:b"]
        claim = self.takes(store, "r:sub:b")
        run(store.end_attempt(claim, AttemptEnd("failed", 3, error=ERROR, lease_end="failed")))
        assert self.ready(store) == ["r"]
        assert run(store.statuses(["r:sub:a", "r:sub:b", "x"])) == {
            "r:sub:a": ("completed", 1),
            "r:sub:b": ("failed", 1),
        }
        assert run(store.spent_by_descendants("r")) == Spent(steps=1, time_s=0.001)

    def test_a_child_that_is_there_already_is_left_alone(self, store: Store) -> None:
        self.waits(store, ChildrenWait(("r:sub:a",), 1, ("c",)), children=CHILDREN[:1])
        self.settle(store, "r:sub:a")
        claim = self.takes(store)
        wait = ChildrenWait(("r:sub:a", "r:sub:b"), 1, ("c", "c"))
        step = replace(STEP, step_index=1, outcome="spawn", status="waiting", lease_end="waiting", wait=wait)
        run(store.commit_step(claim, replace(step, children=CHILDREN)))
        assert self.ready(store) == ["r", "r:sub:b"], "one has settled already"

    def test_a_run_that_is_no_child_is_not_taken_for_one(self, store: Store) -> None:
        self.begin(store, "r:sub:a")
        claim = self.begin(store)
        with refused(RunExists):
            run(store.commit_step(claim, replace(STEP, children=CHILDREN)))
        assert store.reader.steps("r") == []

    def test_a_cancelled_child_has_settled(self, store: Store) -> None:
        self.waits(store, ChildrenWait(("r:sub:a",), 1, ("c",)), children=CHILDREN[:1])
        assert run(store.cancel_runs("r:sub:a", CANCELLABLE, ERROR, 5)) == ["r:sub:a"]
        assert self.ready(store) == ["r"]

    def test_the_step_that_ends_a_run_cancels_its_open_children(self, store: Store) -> None:
        self.waits(store, ChildrenWait(("r:sub:a",), 1, ("c",)), children=CHILDREN)
        self.settle(store, "r:sub:a")
        claim = self.takes(store)
        run(store.commit_step(claim, replace(LAST, step_index=1, cancels=Cancelling(CANCELLABLE, ERROR))))
        assert {record.run_id: record.status for record in store.reader.list_runs()} == {
            "r": "completed",
            "r:sub:a": "completed",
            "r:sub:b": "cancelled",
        }

    def test_a_fork_that_waits_for_the_children_of_its_origin_is_ready_with_them(self, store: Store) -> None:
        wait = ChildrenWait(("r:sub:a",), 1, ("c",))
        self.waits(store, wait, children=CHILDREN[:1])
        fork = NewRun("f", "step", "1", "1", 3, step_index=1, forked_from='{"run_id":"r","step_index":0}', wait=wait)
        assert run(store.add_run(fork))
        assert self.ready(store) == ["r:sub:a"]
        self.settle(store, "r:sub:a")
        assert self.ready(store) == ["f", "r"]

    # ------------------------------------------------------------------ requests from outside

    def test_a_run_that_nobody_holds_is_created_or_waits_and_is_ready(self, store: Store) -> None:
        assert run(store.add_run(NEW))
        assert not run(store.add_run(NEW))
        assert run(store.add_run(replace(NEW, run_id="w", step_index=2, wait=TimerWait(NOW), due_at=NOW)))
        assert {record.run_id: record.status for record in store.reader.list_runs()} == {"r": "created", "w": "waiting"}
        assert self.ready(store, NOW - 1) == ["r"]
        assert self.ready(store, NOW) == ["r", "w"]

    def test_cancelling_takes_the_run_and_its_descendants_from_their_holders(self, store: Store) -> None:
        self.waits(store, ChildrenWait(("r:sub:a",), 1, ("c",)), children=CHILDREN[:1])
        child = self.takes(store, "r:sub:a")
        assert run(store.cancel_runs("r", CANCELLABLE, ERROR, 5)) == ["r", "r:sub:a"]
        with refused(LeaseLost):
            run(store.commit_step(child, LAST))
        record = store.reader.get_run("r:sub:a")
        assert record is not None
        assert (record.status, record.error, record.owner) == ("cancelled", ERROR, None)
        assert store.reader.leases("r:sub:a")[-1].ended_as == "cancelled"
        assert self.ready(store, 1 << 60) == []
        assert run(store.cancel_runs("r", CANCELLABLE, ERROR, 6)) == []

    def test_a_pause_is_for_the_next_commit_and_for_runs_that_have_not_begun(self, store: Store) -> None:
        claim = self.begin(store)
        run(store.add_run(replace(NEW, run_id="new")))
        assert run(store.request_pause("r", 5)) == ["r"]
        assert run(store.request_pause("new", 5)) == ["new"]
        with refused(PauseRequested):
            run(store.commit_step(claim, STEP))
        run(store.commit_step(claim, replace(STEP, status="paused", lease_end="paused")))
        assert {record.run_id: record.status for record in store.reader.list_runs()} == {"r": "paused", "new": "paused"}
        assert run(store.request_pause("r", 6)) == []

    def test_a_claim_gives_a_run_the_name_that_its_program_has_now(self, store: Store) -> None:
        run(store.add_run(NEW))
        self.takes(store, lease=replace(BOB, program="shop:step"))
        record = store.reader.get_run("r")
        assert record is not None
        assert (record.program, record.code_at, record.module) == ("shop:step", BOB.code_at, None)

    def test_holders_are_those_whose_lease_lasts(self, store: Store) -> None:
        self.begin(store)
        self.begin(store, "expired", replace(ALICE, lease_s=0.0))
        assert run(store.holders(["step"])) == [("r", "step", ALICE.owner)]

    def test_every_write_changes_the_mark(self, store: Store) -> None:
        mark = store.change_mark()
        assert store.change_mark() == mark
        assert run(store.wait_for_change(mark, 0)) is False
        self.begin(store)
        assert store.change_mark() != mark
        assert run(store.wait_for_change(mark, 0)) is True
