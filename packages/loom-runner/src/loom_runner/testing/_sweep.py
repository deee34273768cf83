"""The kill sweep: a small agent is killed at random points until it is done, and its effects are
counted afterwards.

What is counted, for every run:

* *lost*: a step or a tool result that was acknowledged as committed, and is not in the database;
* *repeated*: an effect that happened again although its result was recorded; with any policy except
  `retry`, any effect that happened twice;
* *hidden*: an effect without a recorded end that `doubts` does not list.

Effects are lines of an append-only file.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING, get_args

from loom_runner._control.decide import decide_approval
from loom_runner._control.resolve import resolve_call
from loom_runner._model.waits import DecisionWait
from loom_runner._queries.approvals import read_approvals
from loom_runner._store.in_doubt import read_tool_calls
from loom_runner._store.sqlite.store import SQLiteStore
from loom_runner.testing._crash import CRASH_POINTS
from loom_runner.testing._effects import EffectLog
from loom_runner.testing._kill_sweep import SweepReport, Trial, kill_runs
from loom_runner.testing._sweep_agent import EFFECT_POINTS, RUN_ID, STEPS, Policy, drive, receipt_of

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from loom_runner._model.records import ToolRecord

__all__ = ["POINTS", "kill_once", "sweep"]

_OTHERS = ("decide_tool", "update_approval", "send_signal", "cancel_runs", "request_pause", "add_run", "set_budget")
POINTS = (
    *(point for point in CRASH_POINTS if not point.startswith((*_OTHERS, "replace_state"))),
    *EFFECT_POINTS,
)
"""The points that a process reaches when it drives a run; the others are reached by requests from
outside.
"""


class _Trial(Trial):
    """One run of the sweep's agent."""

    preload = "loom_runner.testing._preload"

    def __init__(self, folder: Path, policy: Policy, points: Sequence[str] = POINTS) -> None:
        super().__init__(folder)
        self.policy = policy
        self.points = points
        self.effects = EffectLog(folder / "effects.txt")
        self.acknowledged = EffectLog(folder / "acknowledged.txt")

    def process(self, point: str | None, nth: int = 1) -> bool:
        """Drive the run in a separate process; return whether it was killed."""
        return self.run_process(drive, str(self.folder), self.policy, point, nth, name=f"the process at {point}")

    def kill(self, chance: random.Random) -> int:
        """Drive the run to a random point, then decide what waits."""
        was_killed = self.process(chance.choice(self.points), chance.randint(1, 4))
        self.settle()
        return was_killed

    def settle(self) -> None:
        """Look for hidden calls in doubt, and decide what waits according to the effects, as a
        person would.
        """
        if not (self.folder / "runs.sqlite").exists():
            return
        with SQLiteStore(self.folder / "runs.sqlite", "process") as store:
            run = store.reader.get_run(RUN_ID)
            if run is None:
                return
            listed = read_tool_calls(store.reader, in_doubt=True)
            ended = {_key(call) for call in store.reader.tool_calls() if call.ended_at is not None}
            open_keys = {_key(call) for call in listed}
            self.problems += [f"hidden: {key}" for key in set(self.effects.lines()) - ended - open_keys]
            if run.status == "waiting":
                for request in read_approvals(store.reader, RUN_ID, pending_only=True):
                    asyncio.run(decide_approval(store, RUN_ID, request.number, "approve", by="sweep"))
                if isinstance(run.wait, DecisionWait) and run.wait.doubt is not None:
                    self.doubts += len(listed)
                    for call in listed:
                        self._answer(store, call.number, _key(call), call.arguments)

    def _answer(self, store: SQLiteStore, number: int, key: str, arguments: str) -> None:
        given = json.loads(arguments)
        if self.effects.count(key):
            receipt = receipt_of(given["n"], given["part"])
            asyncio.run(resolve_call(store, RUN_ID, number, "result", result=receipt, decided_by="sweep"))
        else:
            asyncio.run(resolve_call(store, RUN_ID, number, "retry", decided_by="sweep"))

    def finish(self) -> None:
        """Drive the run to its end without a kill, then compare the rows with the effects."""
        for _ in range(30):
            self.settle()
            self.process(None)
            with SQLiteStore(self.folder / "runs.sqlite", "process") as store:
                run = store.reader.get_run(RUN_ID)
                if run is not None and run.status == "completed":
                    self._compare(store, run.result)
                    return
        self.problems.append("failed: the run does not come to its end")

    def _compare(self, store: SQLiteStore, result: str | None) -> None:
        steps = store.reader.steps(RUN_ID)
        calls = {_key(call): call for call in store.reader.tool_calls()}
        acknowledged = self.acknowledged.lines()
        rounds = 2 * STEPS if self.policy == "spawn" else STEPS
        if [step.step_index for step in steps] != list(range(rounds + 1)):
            self.problems.append(f"lost: steps are {[step.step_index for step in steps]}")
        names = [(n, part) for n in range(STEPS) for part in range(3)]
        wanted = [{receipt_of(*name), "unknown {}.{}".format(*name)} for name in names]
        if self.policy != "fail":
            wanted = [{receipt_of(*name)} for name in names]
        got = json.loads(result or "[]")
        if len(got) != len(wanted) or any(one not in allowed for one, allowed in zip(got, wanted, strict=False)):
            self.problems.append(f"lost: the result is {result}")
        for index, count in Counter(line.split()[1] for line in acknowledged if line.startswith("step ")).items():
            if count > 1:
                self.problems.append(f"repeated: step {index} was committed {count} times")
        for key, count in Counter(self.effects.lines()).items():
            call = calls.get(key)
            allowed = call.tries if call is not None and self.policy in ("retry", "approve", "spawn") else 1
            if call is None or call.ended_at is None:
                self.problems.append(f"lost: the record of {key}")
            elif count > allowed:
                self.problems.append(f"repeated: {key} happened {count} times in {call.tries} tries")
        approvals = store.reader.approvals(RUN_ID) if self.policy == "approve" else []
        self.problems += [f"lost: the approval of {one.key}" for one in approvals if one.status != "used"]
        for key, count in Counter(line.split()[1] for line in acknowledged if line.startswith("call ")).items():
            if count > 1:
                self.problems.append(f"repeated: {key} ended {count} times")


def _key(call: ToolRecord) -> str:
    return f"{call.run_id}/{call.step_index}/{call.key}"


def kill_once(folder: Path, policy: Policy, *points: str) -> tuple[bool, list[str]]:
    """Kill one run at these points, one process after the other, finish it, and compare.

    Returns:
        Whether each point was reached, and the problems.
    """
    trial = _Trial(folder, policy)
    kills = 0
    for point in points:
        for _ in range(4):  # a waiting run continues in another process
            if trial.process(point):
                kills += 1
                break
            trial.settle()
    trial.finish()
    return kills == len(points), trial.problems


def sweep(
    number: int, *, seed: int, points: Sequence[str] = POINTS, on_progress: Callable[[str], None] = lambda _: None
) -> SweepReport:
    """Kill processes at random points until `number` were killed, several in each run, and count
    problems.

    Args:
        number: How many processes to kill.
        seed: The same seed kills at the same points.
        on_progress: Called with a line of progress after every 50 runs.
    """
    report = SweepReport(seed)

    def begin(folder: Path, chance: random.Random) -> Trial:
        return _Trial(folder, chance.choice(get_args(Policy)), points)

    kill_runs(report, number, begin, rounds=5, report_every=50, on_progress=on_progress)
    return report
