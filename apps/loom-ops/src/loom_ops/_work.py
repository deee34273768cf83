"""Let a team work on a run from the command line: begin it, go on with it, tell how it stands, keep the audit trail."""

from __future__ import annotations

import contextlib
import secrets
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loom_agents import AgentError, ProviderModel, ScriptedModel, ScriptError
from loom_runner import RunnerError
from loom_runner.cli_base import ExitCode, exit_code_of_status, one_line, run_async, write_error, write_json, write_line

from loom_ops._audited import bring_up_to_date
from loom_ops._choose import choose_runbook, find_runbook
from loom_ops._drill import Drill
from loom_ops._errors import LoomOpsError, RunbookError
from loom_ops._memory import Memory, as_untrusted_text
from loom_ops._notified import notify
from loom_ops._parse import parse_runbook
from loom_ops._people import local_person
from loom_ops._planner import mock_planner
from loom_ops._reader import reader
from loom_ops._render import input_values
from loom_ops._standing import standing_lines
from loom_ops._states import Executing, Request, Supervising
from loom_ops._supervisor import GOOD
from loom_ops._team import Team, now_iso

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from loom_agents import Model
    from loom_runner import AgentRunner, RunResult, SQLiteStore
    from loom_runner.cli_base import Output

    from loom_ops._runbook import Runbook
    from loom_ops._site import Site

__all__ = ["MOCK", "Desk", "drilling", "known_to", "made_request", "model_named", "new_name"]

MOCK = "mock"


@dataclass(frozen=True, slots=True)
class Desk:
    """What every command that lets a run work is given.

    Args:
        db: The database as the user named it, for commands that can be pasted.
        model: Who plans, when it is not the one that the run began with.
    """

    store: SQLiteStore
    db: str
    site: Site
    output: Output
    model: str | None = None
    trace: Path | None = None

    @property
    def database(self) -> Path:
        return Path(self.db)

    def begin(self, run_id: str, request: Request) -> int:
        """Start a run, or go on with it when it was started with the same request."""
        state = Supervising(request, known=known_to(self.database, request.incident))
        record = self.store.get_run(run_id)
        if record is not None:
            stored = Team.stored_request(self.store, run_id)
            if stored.incident != request.incident:
                raise LoomOpsError(
                    f"cannot start {run_id!r}: there is a run of this name about {stored.incident[:80]!r}. "
                    f"Go on with it by {self.command('resume', run_id)}, or choose another --run-id.",
                    run_id=run_id,
                )
            return self.go_on(run_id)
        with drilling(request, self._say):
            runner = self._team(request).runner()
            return self._worked(run_id, lambda: runner.start(run_id=run_id, initial_state=state), runner)

    def go_on(self, run_id: str) -> int:
        """Go on with a run."""
        request = Team.stored_request(self.store, run_id)
        with drilling(request, self._say):
            team = self._team(request)
            runner = team.taking_back() if run_id.endswith(":rollback") else team.runner()
            return self._worked(run_id, lambda: runner.resume(run_id=run_id), runner)

    def take_back(self, run_id: str) -> int:
        """Take back what a run's executor did, in a run of its own."""
        request = Team.stored_request(self.store, run_id)
        name = f"{run_id}:rollback"
        executor = self.store.get_run(f"{run_id}:sub:executor")
        if executor is None or executor.status not in ("completed", "failed", "cancelled", "parked"):
            raise LoomOpsError(
                f"cannot roll {run_id!r} back: its executor has not ended. Deny what it waits for, or cancel it first.",
                run_id=run_id,
            )
        rows = reader(self.store).get(executor.run_id)
        reports = rows["result"]["steps"] if rows["result"] else rows["state"]["reports"]
        state = Executing.to_take_back(request, reports)
        if not state.undo:
            raise LoomOpsError(f"cannot roll {run_id!r} back: nothing that it did can be taken back.", run_id=run_id)
        with drilling(request, self._say):
            runner = self._team(request).taking_back()
            return self._worked(name, lambda: runner.start(run_id=name, initial_state=state), runner)

    def command(self, verb: str, run_id: str, *more: str) -> str:
        """Write a command that can be pasted."""
        words = ["loom-ops", verb, "--run-id", run_id, "--db", self.db, *more]
        return " ".join(shlex.quote(word) for word in words)

    # ------------------------------------------------------------------ inside

    def _team(self, request: Request) -> Team:
        return Team(self.store, self.database, self.site, request, model_named(self.model or request.model))

    def _say(self, text: str) -> None:
        """Print what is the first line that a person reads."""
        (write_line if self.output == "text" else write_error)(text)

    def _worked(self, run_id: str, work: Callable[[], Any], runner: AgentRunner) -> int:
        tracing = contextlib.nullcontext() if self.trace is None else runner.tracing(run_id, self.trace)
        result: RunResult | None = None
        problem = ""
        try:
            with tracing:
                result = run_async(work(), hint=f"Go on: {self.command('resume', run_id)}")
        except (RunnerError, OSError) as exc:
            if result is None:
                raise
            problem = one_line(str(exc))  # of the page; what the team came to is told all the same
        finally:
            if self.store.get_run(run_id) is not None:
                head = bring_up_to_date(reader(self.store), run_id, self.database)
        self._tell(run_id, result, str(head))
        if problem:
            write_error(problem)
        return self._exit_code(result) or (ExitCode.FAILED if problem else ExitCode.DONE)

    def _tell(self, run_id: str, result: RunResult, head: str) -> None:
        rows = reader(self.store)
        notify(self.site, self.database, rows, run_id, head)
        if self.output == "text":
            for line in standing_lines(rows, run_id, command=self.command):
                write_line(line)
            write_error(f"audit head {head}")
        else:
            run = rows.get(run_id)
            facts = {name: run[name] for name in ("run_id", "status", "step_index", "state", "result", "error", "wait")}
            pending = [row for row in rows.approvals(pending_only=True) if row["run_id"].startswith(f"{run_id}:sub:")]
            facts |= {"approvals": pending, "audit_head": head, "exit_code": int(self._exit_code(result))}
            write_json(facts, self.output)

    @staticmethod
    def _exit_code(result: RunResult) -> ExitCode:
        if result.status == "completed":
            outcome = result.result["outcome"]
            return (
                ExitCode.DONE
                if outcome in GOOD or outcome == "taken back"
                else _OF_OUTCOME.get(outcome, ExitCode.FAILED)
            )
        return exit_code_of_status(result.status, result.error.category if result.error else None)


_OF_OUTCOME = {"denied": ExitCode.DENIED}


def known_to(database: Path, incident: str) -> str:
    """Return what earlier runs found out about an incident, for a planner."""
    memory = Memory(database)
    try:
        return as_untrusted_text(memory.search(incident, now_iso()))
    finally:
        memory.close()


@contextlib.contextmanager
def drilling(request: Request, say: Callable[[str], None] = write_error) -> Iterator[None]:
    """Serve the drill of a request, if it has one, until the block ends."""
    if request.drill is None:
        yield
        return
    with Drill(Path(request.drill)).serving() as url:
        say(f"This is a drill: {url} is a small service of this command, slow since its last release.")
        yield


def new_name() -> str:
    """Name a run."""
    return f"inc-{datetime.now(UTC):%Y%m%d-%H%M}-{secrets.token_hex(2)}"


def model_named(name: str) -> Model:
    """Return the model of this name.

    Raises:
        LoomOpsError: The script, or the provider's key, is not there.
    """
    if name == MOCK:
        return mock_planner()
    try:
        if name.startswith("script:"):
            return ScriptedModel.from_file(Path(name.removeprefix("script:")))
        return ProviderModel(name)
    except ScriptError as exc:
        raise LoomOpsError(str(exc)) from exc
    except AgentError as exc:
        raise LoomOpsError(str(exc), exit_code=ExitCode.PROVIDER) from exc


def made_request(
    site: Site,
    incident: str,
    runbook: str | None,
    inputs: Mapping[str, str],
    *,
    run_id: str,
    database: Path,
    drill: bool,
    model: str,
) -> Request:
    """Turn what the user typed into a request: the runbook's text, its inputs checked, a drill where there is nothing.

    A drill stands in when it is asked for, or when the folder has neither settings, runbooks, rules nor a target.

    Raises:
        LoomOpsError: No runbook fits, or an input is missing or wrong.
    """
    model_named(model)  # says now what is wrong with it
    source, text = choose_runbook(site, incident) if runbook is None else find_runbook(site, runbook)
    read, problems = parse_runbook(text, source)
    if read is None:
        raise RunbookError(source, [problem for problem in problems if problem.severity == "error"])
    is_bare = not (site.is_written or site.runbooks.exists() or site.rules.exists() or inputs)
    folder = None
    if drill or (is_bare and runbook is None and _lacks_a_target(read)):
        if not {"url", "service"} <= read.inputs.keys():
            raise LoomOpsError(
                f"cannot drill {read.name}: a drill has a slow service, and {read.name} has no use for one."
            )
        folder = database.parent / f"{database.name}.drill" / run_id.replace("/", "_")
        with Drill(folder).serving() as url:
            inputs = {**inputs, "url": url}
    values = input_values(read, inputs)
    return Request(incident, local_person().name, source, text, values, None if folder is None else str(folder), model)


def _lacks_a_target(runbook: Runbook) -> bool:
    try:
        input_values(runbook, {})
    except LoomOpsError:
        return "url" in runbook.inputs
    return False
