"""What other programs use of loom-ops: the runbooks, steps, approvals and reports of one site.

    from loom_ops.api import Operations

    operations = Operations("ops.sqlite")
    person = operations.local_person("python")
    run = await operations.execute_step("disk-full", "room", {}, requester=person)
    print(run.status, run.text)

Rules, approvals, policies and the audit trail are those of the command line. Who calls is a
`Person`, whom the calling program has proven; a client states nothing about itself. Each call opens
the database and closes it again, so that several processes work with one database.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from loom_ops._approvals.people import People, Person, local_identity
from loom_ops._errors import LOOM_OPS, LoomOpsError
from loom_ops._incidents.results import (
    CheckFinding,
    Explanation,
    Health,
    PendingApproval,
    RunbookInput,
    RunbookStep,
    RunbookSummary,
    RunStatus,
    SimilarIncident,
    StepReport,
    StepRun,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from loom_runner import Observer, SQLiteStore

    from loom_ops._site import Site

__all__ = [
    "CheckFinding",
    "Explanation",
    "Health",
    "LoomOpsError",
    "Operations",
    "PendingApproval",
    "Person",
    "RunStatus",
    "RunbookInput",
    "RunbookStep",
    "RunbookSummary",
    "SimilarIncident",
    "StepReport",
    "StepRun",
]

MAX_SIMILAR: Final = 50
_OPENING: Final = threading.Lock()


class Operations:
    """The runbooks and runs of one site.

    Args:
        db: The database of the runs; it is created by the first step.
        folder: The workspace; None for the current folder.
        config: The settings; None for `loom-ops.toml` in the folder, if it exists. They are read
            again for each call.
    """

    def __init__(self, db: str, *, folder: Path | None = None, config: Path | None = None) -> None:
        self.db = db
        self._folder = folder
        self._config = config

    def person(self, identity: str, via: str) -> Person:
        """Return the person of an identity that the caller has proven (`os:alice@host`,
        `token:alice`).

        Args:
            via: The interface, as the audit trail names it.

        Raises:
            LoomOpsError: The settings cannot be read.
        """
        return People.of(self._site()).person(identity, via)

    def local_person(self, via: str) -> Person:
        """Return the user of this process.

        Raises:
            LoomOpsError: The settings cannot be read.
        """
        return self.person(local_identity(), via)

    def runbooks(self) -> list[RunbookSummary]:
        """Return the runbooks that clients may start, with their steps and inputs.

        Raises:
            LoomOpsError: The settings or a file cannot be read.
        """
        from loom_ops._incidents.runbook_list import runbook_summaries

        return runbook_summaries(self._site())

    async def execute_step(
        self,
        runbook: str,
        step: str,
        inputs: Mapping[str, Any],
        *,
        requester: Person,
        runs_all: bool = False,
        may_approve: bool = True,
        run_id: str | None = None,
        key: str | None = None,
        observer: Observer | None = None,
    ) -> StepRun:
        """Run one step of a runbook, or continue its run; return when it has ended or waits.

        A step that writes waits for an approval, and this never gives one.

        Args:
            runs_all: Whether the requester may continue the runs of others.
            may_approve: Whether the requester's interface lets them approve; for `you_may_approve`.
            run_id: The run to continue, or the id of a new one.
            key: The same key of the same requester is the same run. Without run id and key, the
                unfinished run of the same step, inputs and requester is continued.

        Raises:
            LoomOpsError: Runbook, step or inputs are wrong, or the run is that of another step or
                person.
            RunnerError: The database cannot be used, or is not trusted.

        Durability: every change is on disk before the next one; when the process is killed, the
        same call continues. A command that was interrupted is in doubt, and is not repeated.
        """
        from loom_runner import Runs

        from loom_ops._incidents.step_views import step_run_of
        from loom_ops._incidents.steps import StepRequest, StepRuns

        asked = StepRequest(runbook, step, inputs, requester, runs_all, run_id, key)
        async with self._opened(must_exist=False) as store:
            name = await StepRuns(store, Path(self.db), self._site()).execute(asked, observer)
            return step_run_of(Runs(store), name, requester, self._command, may_approve=may_approve)

    async def decide(
        self,
        run_id: str,
        number: int,
        digest: str,
        verdict: Literal["approve", "deny"],
        person: Person,
        *,
        note: str = "",
    ) -> None:
        """Record a person's decision about a step that waits, as `loom-ops approve` does.

        Args:
            run_id, number: The request.
            digest: The hash that the person was shown; the decision is refused when the request
                was edited since.

        Raises:
            LoomOpsError: The person may not (exit code 5), which the audit trail records; or the
                request was edited, or must be signed.
            RunnerError: It was decided before, or has expired.

        Durability: decision and audit entry are on disk when this returns, both or none.
        """
        from loom_runner import LocalEngine

        from loom_ops._approvals.decisions import DecisionService

        async with self._opened(must_exist=True) as store:
            service = DecisionService(LocalEngine(store), self._site(), Path(self.db))
            request = service.find(verdict, run_id, number, digest=digest)
            await service.decide(request, verdict, person, note=note)

    async def check_health(self, service: str, report: Callable[[int, int, str], None] | None = None) -> Health:
        """Run the checks of a service, which only read; see `Health`.

        Args:
            report: Called before each check with its index, the number of checks and its name.

        Raises:
            LoomOpsError: No runbook or setting says how to check this service.
        """
        from loom_ops._incidents.health import check_health

        return await check_health(self._site(), service, report)

    def approvals(
        self, person: Person, run_id: str | None = None, *, may_approve: bool = True
    ) -> list[PendingApproval]:
        """Return the steps that wait for approval, of one run and its team or of all.

        Raises:
            LoomOpsError: There is no database.
            RunnerError: It cannot be read, or has no such run.
        """
        from loom_agents.cli import requests_in_tree
        from loom_runner import Runs

        from loom_ops._incidents.step_views import pending_approval
        from loom_ops._runs import is_run_of_loom_ops

        with _opened(self.db, read_only=True) as store:
            runs = Runs(store)
            if run_id is not None:
                runs.get(run_id)
            found = requests_in_tree(runs.approvals(pending_only=True), run_id)
            own = [request for request in found if is_run_of_loom_ops(runs.get(request["run_id"]))]
            return [pending_approval(each, person, self._command, may_approve=may_approve) for each in own]

    def run_status(self, run_id: str, person: Person, *, may_approve: bool = True) -> RunStatus:
        """Return the status of a run of loom-ops.

        Raises:
            LoomOpsError: There is no database, or it is a run of another program.
            RunnerError: It cannot be read, or has no such run.
        """
        from loom_runner import Runs
        from loom_runner.run_ids import is_child

        from loom_ops._cli.status_lines import status_lines
        from loom_ops._incidents.step_views import run_status_of

        with _opened(self.db, read_only=True) as store:
            runs = Runs(store)
            self._require_own(runs.get(run_id))
            lines = [] if is_child(run_id) else list(status_lines(runs, run_id, command=self._command))
            return run_status_of(runs, run_id, person, self._command, lines, may_approve=may_approve)

    def explain(self, run_id: str) -> Explanation:
        """Return what happened in a run of loom-ops, as `loom-ops explain` does.

        Raises:
            LoomOpsError: There is no database, or it is a run of another program.
            RunnerError: It cannot be read, or has no such run.
        """
        from loom_runner import Runs
        from loom_runner.run_ids import is_child

        from loom_ops._cli.timeline import timeline_lines

        with _opened(self.db, read_only=True) as store:
            runs = Runs(store)
            self._require_own(runs.get(run_id))
            explanation = runs.explain(run_id)
            if is_child(run_id):
                lines = [f"{what}  {text}  {at}".rstrip() for what, text, at in explanation.lines()]
            else:
                lines = [line.strip() for line in timeline_lines(runs, run_id)]
            team = [runs.explain(child["run_id"]).data for child in runs.children(run_id)]
            data = explanation.data
            return Explanation(run_id, data["status"], data["summary"], lines, {**data, "team": team})

    def similar(self, text: str, *, limit: int = 5) -> list[SimilarIncident]:
        """Return earlier incidents, and facts learned from them, that have words of a text.

        Args:
            limit: The largest number of facts, and of runs without a fact.

        Raises:
            LoomOpsError: There is no database, or the limit is not from 1 to 50.
            RunnerError: It cannot be read.
        """
        from loom_ops._incidents.similar import similar_incidents

        if not 1 <= limit <= MAX_SIMILAR:
            raise LoomOpsError(f"cannot search: limit is {limit}, not a number from 1 to {MAX_SIMILAR}.")
        if not text.strip():
            raise LoomOpsError("cannot search: text is empty. Describe the incident in a few words.")
        with _opened(self.db, read_only=True) as store:
            return similar_incidents(store, Path(self.db), text, limit=limit)

    # ------------------------------------------------------------------ inside

    def _site(self) -> Site:
        from loom_ops._site import load_site

        return load_site(self._folder or Path.cwd(), self._config)

    @asynccontextmanager
    async def _opened(self, *, must_exist: bool) -> AsyncIterator[SQLiteStore]:
        """Open the database in a thread, because it may be locked for long; close it at the end."""
        stack = ExitStack()
        opening = asyncio.ensure_future(asyncio.to_thread(stack.enter_context, _opened(self.db, must_exist=must_exist)))
        try:
            yield await asyncio.shield(opening)
        finally:
            await asyncio.wait([opening])
            stack.close()

    def _command(self, verb: str, run_id: str, *more: str) -> str:
        from loom_ops._cli.options import pasteable
        from loom_ops._site import SITE_FILE

        settings = self._config or (None if self._folder is None else self._folder / SITE_FILE)
        if settings is not None and settings.is_file() and verb != "explain":
            more = (*more, "--config", str(settings))
        return pasteable(verb, run_id, self.db, *more)

    @staticmethod
    def _require_own(run: Mapping[str, Any]) -> None:
        from loom_ops._runs import is_run_of_loom_ops

        if not is_run_of_loom_ops(run):
            raise LoomOpsError(f"cannot report on {run['run_id']!r}: it is not a run of loom-ops.")


@contextmanager
def _opened(db: str, **how: Any) -> Iterator[SQLiteStore]:
    """Open the database and close it after the block. One thread at a time does either: a file that
    is half open looks as if another SQLite library had it open.
    """
    stack = ExitStack()
    with _OPENING:
        store = stack.enter_context(LOOM_OPS.open_database(db, **how))
    try:
        yield store
    finally:
        with _OPENING:
            stack.close()
