"""One step of a runbook as a run of its own: start it, or continue it, at most once each.

Such a run is an executor without a team, so that rules, approvals, audit and undo are those of
`loom-ops supervise`. It is found again by its id, by the key that its requester gave, or because
the same person requested the same step with the same inputs before and that run has not ended: a
client that was killed, or that lost the answer, does not start it a second time.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from loom_runner import RunBusy, Runs, UnknownRun
from loom_runner.errors import RunExists

from loom_ops._audit.facts import update_audit_trail
from loom_ops._errors import LoomOpsError
from loom_ops._incidents.driving import record_and_notify, record_settings
from loom_ops._incidents.models import MOCK, load_model
from loom_ops._incidents.requests import build_request, new_run_id, stored_request
from loom_ops._run_ids import check_new_incident_id, is_rollback
from loom_ops._runbook.catalog import runbook_name, served_runbook
from loom_ops._runbook.inputs import missing_inputs
from loom_ops._runbook.parse import require_runbook
from loom_ops._runbook.template import scalar_text
from loom_ops._runs import EXECUTOR
from loom_ops._team.states import ExecutorState
from loom_ops._team.team import Team

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from loom_runner import Observer, SQLiteStore

    from loom_ops._approvals.people import Person
    from loom_ops._runbook.model import Runbook
    from loom_ops._site import Site
    from loom_ops._team.states import RunRequest

__all__ = ["StepRequest", "StepRuns"]

MAX_KEY_CHARACTERS: Final = 200
_OPEN: Final = ("created", "running", "interrupted", "waiting", "paused", "parked", "failed")
"""The statuses of a run that can still be continued."""
_ENDED: Final = ("completed", "cancelled")


@dataclass(frozen=True, slots=True)
class StepRequest:
    """A request for one step.

    Args:
        requester: As the interface has proven.
        runs_all: Whether the requester may continue the runs of others.
        run_id: The run to continue, or the id of a new one.
        key: A key of the requester's choice: the same key is the same run.
    """

    runbook: str
    step: str
    inputs: Mapping[str, Any]
    requester: Person
    runs_all: bool = False
    run_id: str | None = None
    key: str | None = None

    def named_run(self) -> str | None:
        """Return the id of the run that the request names; None when it names none.

        Raises:
            UsageError, LoomOpsError: The id is not one that a client may use.
        """
        if self.key is None:
            if self.run_id is not None:
                check_new_incident_id(self.run_id)
            return self.run_id
        if self.run_id is not None:
            raise LoomOpsError("cannot run a step: it has a run_id and an idempotency_key. Give one of them.")
        if not 0 < len(self.key) <= MAX_KEY_CHARACTERS:
            raise LoomOpsError(f"cannot run a step: idempotency_key has not 1 to {MAX_KEY_CHARACTERS} characters.")
        digest = sha256(f"{self.requester.identity}\n{self.key}".encode("utf-8", "surrogatepass")).hexdigest()
        return f"step-{digest[:20]}"


@dataclass(frozen=True, slots=True)
class StepRuns:
    """The runs of steps in one database."""

    store: SQLiteStore
    database: Path
    site: Site

    async def execute(self, asked: StepRequest, observer: Observer | None = None) -> str:
        """Start the run of a step, or continue it, until it ends or waits; return its id.

        Raises:
            LoomOpsError: Runbook, step or inputs are wrong; the run is that of another step, or of
                another person.
            RunnerError: The store refuses.

        Durability: what has happened is on disk at any time, and in the audit trail when this
        returns or is cancelled.
        """
        run_id = asked.named_run()
        if run_id is not None and self.store.reader.get_run(run_id) is not None:
            return await self._continue(run_id, asked, observer)
        runbook = self._runbook(asked)
        run_id = run_id or f"step-{new_run_id().removeprefix('inc-')}"
        request = build_request(
            self.site,
            f"{runbook.title}: only the step {asked.step}",
            asked.runbook,
            {name: scalar_text(value) for name, value in asked.inputs.items()},
            run_id=run_id,
            database=self.database,
            drill=False,
            model=MOCK,
            requester=asked.requester,
            is_served=True,
        )
        state = ExecutorState.for_step(request, asked.step)
        if asked.run_id is None and asked.key is None:
            same = self._unfinished(request, asked)
            if same is not None:
                return await self._continue(same, asked, observer)
        runner = self._team(request, observer).executor()
        try:
            await self._drive(run_id, lambda: runner.start(run_id=run_id, initial_state=state))
        except RunExists:  # another process was faster, with the same key
            return await self._continue(run_id, asked, observer)
        return run_id

    async def _continue(self, run_id: str, asked: StepRequest, observer: Observer | None) -> str:
        run = self.require_step_run(run_id)
        request = stored_request(self.store, run_id)
        self._check_same(run, request, asked)
        if not asked.runs_all and asked.requester.identity != request.requester_identity:
            raise LoomOpsError(
                f"cannot continue {run_id!r}: {request.requester} requested it, and not {asked.requester}. "
                "Read it with run_status.",
                run_id=run_id,
            )
        if run["status"] in _ENDED:
            return run_id
        runner = self._team(request, observer).executor()
        await self._drive(run_id, lambda: runner.resume(run_id=run_id))
        return run_id

    def require_step_run(self, run_id: str) -> dict[str, Any]:
        """Return a run that performs one step.

        Raises:
            UnknownRun, LoomOpsError: It is none.
        """
        run = Runs(self.store).find(run_id)
        if run is None:
            raise UnknownRun(f"there is no run {run_id!r}. See loom-ops runs.", run_id=run_id)
        if run["program"] != EXECUTOR or is_rollback(run_id) or run["parent_run_id"] is not None:
            raise LoomOpsError(
                f"cannot continue {run_id!r}: it is not the run of one step. Resume it with loom-ops resume.",
                run_id=run_id,
            )
        return run

    # ------------------------------------------------------------------ inside

    def _runbook(self, asked: StepRequest) -> Runbook:
        source, text = served_runbook(self.site, asked.runbook, "")
        runbook = require_runbook(text, source)
        if all(step.id != asked.step for step in runbook.steps):
            steps = ", ".join(step.id for step in runbook.steps)
            raise LoomOpsError(f"cannot run {asked.step!r:.80}: {runbook.name} has no such step. Its steps: {steps}.")
        missing = missing_inputs(runbook, asked.inputs)
        if missing and not asked.inputs.keys() - runbook.inputs.keys():
            raise LoomOpsError(
                f"cannot run {asked.step!r}: {', '.join(missing)} not given in inputs. The inputs of {runbook.name}: "
                f"{', '.join(runbook.inputs)}."
            )
        return runbook

    def _unfinished(self, request: RunRequest, asked: StepRequest) -> str | None:
        """Return the run of the same step for the same person that has not ended; None without."""
        wanted = (request.text, request.inputs, request.requester_identity, asked.step)
        for run in Runs(self.store).list(agent=EXECUTOR, status=_OPEN, limit=1_000):
            stored, plan = run["input"].get("request") or {}, run["input"].get("plan") or [None]
            found = (stored.get("text"), stored.get("inputs"), stored.get("requester_identity"), plan[-1])
            if found == wanted and run["parent_run_id"] is None and not is_rollback(run["run_id"]):
                return str(run["run_id"])
        return None

    def _check_same(self, run: Mapping[str, Any], request: RunRequest, asked: StepRequest) -> None:
        step, name = run["input"]["plan"][-1], runbook_name(request.source)
        differs = [
            f"the {what} is {stored!r:.80}, and not {given!r:.80}"
            for what, stored, given in (
                ("runbook", name, asked.runbook),
                ("step", step, asked.step),
                *((f"input {key}", request.inputs.get(key), scalar_text(value)) for key, value in asked.inputs.items()),
            )
            if stored != given
        ]
        if differs:
            raise LoomOpsError(
                f"cannot continue {run['run_id']!r}: {differs[0]}. Use another run_id or idempotency_key for another "
                "step.",
                run_id=run["run_id"],
            )

    async def _drive(self, run_id: str, work: Callable[[], Awaitable[object]]) -> None:
        await asyncio.to_thread(record_settings, run_id, self.database, self.site)
        is_busy = False
        try:
            await work()
        except RunBusy:
            is_busy = True  # its status says so
        finally:
            if not is_busy and self.store.reader.get_run(run_id) is not None:
                update_audit_trail(Runs(self.store), run_id, self.database)
        if not is_busy:
            await asyncio.to_thread(record_and_notify, self.store, run_id, self.database, self.site)

    def _team(self, request: RunRequest, observer: Observer | None) -> Team:
        observers = () if observer is None else (observer,)
        return Team(self.store, self.database, self.site, request, load_model(MOCK), observers=observers)
