"""The SQLite store compared with a model that keeps its rows in dicts, for random operations."""

import asyncio
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule
from loom_runner import SQLiteStore, UnknownRun
from loom_runner._model.records import AttemptRecord, Claim, ErrorInfo, Owner
from loom_runner._model.retention import Every, Last, Latest
from loom_runner._model.writes import AttemptEnd, LeaseRequest, NewRun, StepCommit, ToolEnd, ToolStart
from loom_runner.errors import LeaseLost

IDS = st.sampled_from(["a", "b", "c"])
LEASES = st.builds(
    LeaseRequest, st.sampled_from([Owner("m", 1, "x"), Owner("m", 2, "y")]), st.sampled_from([0.0, 900.0]),
    st.just("code"), st.just("agent.py:1"),
)  # fmt: skip
TEXTS = st.sampled_from(
    ["0", '"ä"', '"' + "said " * 1_000 + '"', '"' + "said " * 1_050 + '"', '"' + "x" * 70_000 + '"']
)
KEYS = st.sampled_from(["k", "l"])
ENDS = st.sampled_from([None, ("paused", "paused"), ("waiting", "waiting"), ("completed", "completed")])
ERROR = ErrorInfo("ValueError", "bad", "error", "agent.py:3", "trace")


@dataclass
class OracleRun:
    """A run as the oracle sees it."""

    input: str
    state: str
    states: dict = field(default_factory=dict)
    status: str = "running"
    step_index: int = 0
    fence: int = 1
    lease_s: float | None = None
    failures: int = 0
    crashes: int = 0
    result: str | None = None
    error: ErrorInfo | None = None
    attempts: list = field(default_factory=list)
    calls: dict = field(default_factory=dict)
    numbers: int = 0
    signals: list = field(default_factory=list)
    leases: list = field(default_factory=list)
    dropped: int = 0

    def facts(self):
        return (
            self.input, self.state, self.status, self.step_index, self.fence, self.failures, self.crashes, self.result,
            self.error, self.lease_s is not None, sorted(self.states.items()), self.attempts,
            [(key, *call) for key, call in self.calls.items()], self.signals, self.leases,
        )  # fmt: skip


def facts_of(store, run_id):
    """The same facts, read from a store."""
    run = store.reader.get_run(run_id)
    return (
        run.input, run.state, run.status, run.step_index, run.fence, run.failures, run.crashes, run.result,
        run.error, run.owner is not None, [(step.step_index, step.state) for step in store.reader.steps(run_id)],
        [(row.step_index, row.attempt, row.kind) for row in store.reader.attempts(run_id)],
        [((call.step_index, call.key), call.status, call.tries, call.arguments, call.result, call.error, call.number)
         for call in store.reader.tool_calls(run_id)],
        [(signal.name, signal.payload, signal.taken_in_step) for signal in store.reader.signals(run_id)],
        [(lease.fence, lease.owner.pid, lease.ended_as) for lease in store.reader.leases(run_id)],
    )  # fmt: skip


class StoreModel(RuleBasedStateMachine):
    claims = Bundle("claims")
    seen_calls = Bundle("seen_calls")

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.loop = asyncio.new_event_loop()
        self.store = SQLiteStore(self.folder / "runs.sqlite", "process")
        self.runs = {}

    def teardown(self):
        try:
            # A driver never commits a step with a call that has no end; this machine does.
            strange = [
                problem for problem in self.store.reader.verify().problems if "the call has no end" not in problem.what
            ]
            assert strange == []
        finally:
            self.store.close()
            self.loop.close()
            shutil.rmtree(self.folder)

    def go(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    def holder(self, claim):
        """The oracle's run, or None when the claim does not hold it any more."""
        run = self.runs[claim.run_id]
        return run if run.fence == claim.fence else None

    def write(self, claim, coroutine, *, allowed=True):
        """Write; say whether the oracle does it, too."""
        run = self.holder(claim) if allowed else None
        try:
            self.go(coroutine)
        except LeaseLost:
            assert run is None
            return None
        assert run is not None
        return run

    @rule(target=claims, run_id=IDS, lease=LEASES, text=TEXTS)
    def create(self, run_id, lease, text):
        claim = self.go(self.store.create_run(NewRun(run_id, "step", text, text, 1), lease))
        if run_id in self.runs:
            assert claim is None
            return multiple()
        self.runs[run_id] = OracleRun(text, text, lease_s=lease.lease_s, leases=[(1, lease.owner.pid, None)])
        assert claim.fence == 1
        return claim

    @rule(target=claims, run_id=IDS, lease=LEASES, take_over=st.booleans())
    def claim(self, run_id, lease, take_over):
        if run_id not in self.runs:
            assert self.store.reader.get_run(run_id) is None
            return multiple()
        run, seen = self.runs[run_id], self.store.reader.get_run(run_id)
        claim = self.go(self.store.claim_run(seen, lease, take_over=take_over))
        if not (take_over or run.lease_s in (None, 0.0)):
            assert claim is None
            return multiple()
        if run.status == "running":
            run.leases[-1] = (*run.leases[-1][:2], "lost")
            run.attempts.append((run.step_index, run.failures + run.crashes, "interrupted"))
            run.attempts.sort(key=lambda row: row[:2])
            run.crashes += 1
        run.fence += 1
        run.status, run.error, run.lease_s = "running", None, lease.lease_s
        run.leases.append((run.fence, lease.owner.pid, None))
        assert claim == Claim(seen.run_key, run_id, run.fence, lease.lease_s)
        assert self.go(self.store.claim_run(seen, lease, take_over=True)) is None  # what was seen is old now
        return claim

    @rule(claims=st.lists(claims, min_size=1, max_size=4, unique_by=lambda claim: claim.run_id), text=TEXTS, end=ENDS)
    def commit(self, claims, text, end):
        """Several at once, so that they share a transaction when more than one run is held."""
        expected = {}
        for claim in claims:
            run = self.holder(claim)
            expected[claim.run_id] = run if run is not None and run.status == "running" else None
        claims = [claim for claim in claims if expected[claim.run_id] or self.holder(claim) is None]
        status, lease_end = end or ("running", None)
        steps = [
            StepCommit(self.runs[claim.run_id].step_index, "continue", status, text, 1, 2, 1, lease_end=lease_end,
                       signal_key=next((signal.key for signal in self.store.reader.signals(claim.run_id, name="go")), None))
            for claim in claims
        ]  # fmt: skip

        async def all_at_once():
            writes = map(self.store.commit_step, claims, steps)
            return await asyncio.gather(*writes, return_exceptions=True)

        for claim, step, result in zip(claims, steps, self.go(all_at_once()), strict=True):
            run = expected[claim.run_id]
            assert isinstance(result, LeaseLost) if run is None else result is None, result
            if run is None:
                continue
            run.states[run.step_index] = text
            for place, (name, payload, taken) in enumerate(run.signals):
                if step.signal_key is not None and name == "go" and taken is None:
                    run.signals[place] = (name, payload, run.step_index)
                    break
            run.step_index += 1
            run.state, run.status, run.failures, run.crashes = text, status, 0, 0
            if lease_end:
                run.lease_s = None
                run.leases[-1] = (*run.leases[-1][:2], lease_end)

    @rule(claim=claims)
    def commit_out_of_order(self, claim):
        index = self.runs[claim.run_id].step_index + 1
        self.write(
            claim, self.store.commit_step(claim, StepCommit(index, "continue", "running", "9", 1, 2, 1)), allowed=False
        )

    @rule(claim=claims, fails=st.booleans(), ends=st.booleans())
    def end_attempt(self, claim, fails, ends):
        run = self.runs[claim.run_id]
        if run.status != "running":
            return
        failed = AttemptRecord(run.step_index, run.failures + run.crashes, "failed", 1, 2, ERROR, None, claim.fence)
        end = AttemptEnd("failed" if ends else "running", 2, failed=failed if fails else None,
                         error=ERROR if ends else None, lease_end="failed" if ends else None)  # fmt: skip
        if self.write(claim, self.store.end_attempt(claim, end)) is None:
            return
        if fails:
            run.attempts.append((run.step_index, run.failures + run.crashes, "failed"))
            run.attempts.sort(key=lambda row: row[:2])
            run.failures += 1
        run.status, run.error = end.status, end.error
        if ends:
            run.lease_s = None
            run.leases[-1] = (*run.leases[-1][:2], "failed")

    @rule(target=seen_calls, claim=claims, key=KEYS, text=TEXTS)
    def start_tool(self, claim, key, text):
        run = self.runs[claim.run_id]
        if run.status != "running":
            return multiple()
        call = ToolStart(run.step_index, key, "tool", text, "hash", 1)
        if self.write(claim, self.store.start_tool(claim, call)) is None:
            return multiple()
        if (run.step_index, key) not in run.calls:
            run.numbers += 1
            run.calls[run.step_index, key] = ("started", 1, text, None, None, run.numbers)
        return self.store.reader.tool_call(claim.run_id, run.step_index, key)

    @rule(claim=claims, key=KEYS, text=TEXTS, is_done=st.booleans())
    def end_tool(self, claim, key, text, is_done):
        run = self.runs[claim.run_id]
        if run.status != "running":
            return
        end = ToolEnd("done", 3, text) if is_done else ToolEnd("failed", 3, error=ERROR)
        call = run.calls.get((run.step_index, key))
        is_open = call is not None and call[0] == "started"
        if self.write(claim, self.store.end_tool(claim, run.step_index, key, end), allowed=is_open) is not None:
            run.calls[run.step_index, key] = (end.status, *call[1:3], end.result, end.error, call[5])

    @rule(claim=claims, key=KEYS)
    def restart_tool(self, claim, key):
        run = self.runs[claim.run_id]
        call = run.calls.get((run.step_index, key))
        if run.status != "running" or call is None:
            return
        again = ToolStart(run.step_index, key, "tool", call[2], "hash", 9)
        if self.write(claim, self.store.restart_tool(claim, again)) is not None:
            run.calls[run.step_index, key] = ("started", call[1] + 1, call[2], call[3], None, call[5])

    @rule(seen=consumes(seen_calls), text=TEXTS)
    def decide_tool(self, seen, text):
        """By what was seen then; what has changed since is not decided about."""
        run = self.runs[seen.run_id]
        now = self.store.reader.tool_call(seen.run_id, seen.step_index, seen.key)
        is_same = now is not None and (now.status, now.fence, now.tries) == (seen.status, seen.fence, seen.tries)
        if seen.status != "started":
            return
        assert self.go(self.store.decide_tool(seen, ToolEnd("done", 4, text), "ann")) is is_same
        if is_same:
            call = run.calls[seen.step_index, seen.key]
            run.calls[seen.step_index, seen.key] = ("done", call[1], call[2], text, None, call[5])

    @rule(run_id=IDS, name=st.sampled_from(["go", "stop"]), text=TEXTS)
    def send_signal(self, run_id, name, text):
        try:
            self.go(self.store.send_signal(run_id, name, text, 1))
        except UnknownRun:
            assert run_id not in self.runs
        else:
            self.runs[run_id].signals.append((name, text, None))

    @rule(run_id=IDS, keep=st.sampled_from([Latest, Last(3), Every(2)]))
    def drop_steps(self, run_id, keep):
        if run_id not in self.runs or any(
            call[0] == "started" and step < self.runs[run_id].step_index
            for (step, _), call in self.runs[run_id].calls.items()
        ):
            return
        self.go(self.store.prune(run_id=run_id, keep=keep))
        run = self.runs[run_id]
        if not run.states:
            return
        newest = max(run.states)
        gone = [
            step for step in run.states
            if (step <= newest - keep.steps if isinstance(keep, Last) else step % keep.steps and step < newest)
        ]  # fmt: skip
        for step in gone:
            del run.states[step]
        run.attempts = [row for row in run.attempts if row[0] not in gone]
        run.signals = [signal for signal in run.signals if signal[2] not in gone]
        last = max((call[5] for call in run.calls.values()), default=0)
        run.calls = {key: call for key, call in run.calls.items() if key[0] not in gone or call[5] == last}

    @rule()
    def reopen(self):
        self.store.close()
        self.store = SQLiteStore(self.folder / "runs.sqlite", "process")

    @invariant()
    def both_say_the_same(self):
        for run_id, run in self.runs.items():
            assert facts_of(self.store, run_id) == run.facts(), run_id


StoreModel.TestCase.settings = settings(
    max_examples=35, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
test_the_store_and_the_oracle_say_the_same = StoreModel.TestCase
