"""Drive a run from the command line: start it, resume it, roll it back, and print its status."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from loom_runner import RunnerError, Runs
from loom_runner.cli_base import ExitCode, exit_code_of_status, one_line, run_async, write_error, write_json, write_line
from loom_runner.run_ids import child_run_id

from loom_ops._approvals.people import local_person
from loom_ops._audit.facts import update_audit_trail
from loom_ops._cli.options import pasteable
from loom_ops._cli.status_lines import status_lines
from loom_ops._errors import LoomOpsError
from loom_ops._incidents.driving import record_settings, runner_of, serve_drill
from loom_ops._incidents.models import load_model
from loom_ops._incidents.requests import check_same_incident, known_facts, stored_request
from loom_ops._notify.notifications import notify
from loom_ops._run_ids import is_rollback, rollback_id
from loom_ops._runs import EXECUTOR, pending_approvals
from loom_ops._team.outcomes import GOOD, current_outcome
from loom_ops._team.states import ExecutorState, SupervisorState
from loom_ops._team.team import Team

if TYPE_CHECKING:
    from collections.abc import Callable

    from loom_runner import AgentRunner, RunResult, SQLiteStore
    from loom_runner.cli_base import Output

    from loom_ops._site import Site
    from loom_ops._team.states import RunRequest

__all__ = ["Session"]

_ENDED: Final = ("completed", "failed", "cancelled", "parked")
_JSON_MEMBERS: Final = ("run_id", "status", "step_index", "state", "result", "error", "wait")


@dataclass(frozen=True, slots=True)
class Session:
    """The context of a command that drives a run.

    Args:
        db: The database as the user named it, for commands that can be pasted.
        model: The planner's model, when it is not the one that the run started with.
        trace: The path of the trace page; None for no page.
    """

    store: SQLiteStore
    db: str
    site: Site
    output: Output
    model: str | None = None
    trace: Path | None = None

    @property
    def database(self) -> Path:
        """The path of the database."""
        return Path(self.db)

    def start(self, run_id: str, request: RunRequest) -> int:
        """Start a run, or resume it when it has the same incident; return the exit code."""
        state = SupervisorState(request, known=known_facts(self.database, request.incident))
        if self.store.reader.get_run(run_id) is not None:
            hint = f"Resume it with {self.command('resume', run_id)}, or choose another --run-id."
            check_same_incident(self.store, run_id, request.incident, hint=hint)
            return self.resume(run_id)
        with serve_drill(request, self._write_first_line):
            runner = self._team(request).supervisor()
            return self._drive(run_id, lambda: runner.start(run_id=run_id, initial_state=state), runner)

    def resume(self, run_id: str) -> int:
        """Resume a run; return the exit code."""
        request = stored_request(self.store, run_id)
        with serve_drill(request, self._write_first_line):
            runner = runner_of(self._team(request), run_id)
            return self._drive(run_id, lambda: runner.resume(run_id=run_id), runner)

    def roll_back(self, run_id: str) -> int:
        """Undo the steps of a run's executor, in a separate run; return the exit code."""
        request = stored_request(self.store, run_id)
        record = self.store.reader.get_run(run_id)
        is_step = record is not None and record.program == EXECUTOR and not is_rollback(run_id)
        executor = record if is_step else self.store.reader.get_run(child_run_id(run_id, "executor"))
        if executor is None or executor.status not in _ENDED:
            raise LoomOpsError(
                f"cannot roll {run_id!r} back: its executor has not ended. Deny what it waits for, or cancel it first.",
                run_id=run_id,
            )
        row = Runs(self.store).get(executor.run_id)
        reports = row["result"]["steps"] if row["result"] else row["state"]["reports"]
        state = ExecutorState.for_rollback(request, reports)
        if not state.undo:
            raise LoomOpsError(f"cannot roll {run_id!r} back: it has no step that can be undone.", run_id=run_id)
        name = rollback_id(run_id)
        if self.store.reader.get_run(name) is not None:
            return self.resume(name)
        person = local_person(self.site)
        request = replace(request, requester=person.name, requester_identity=person.identity)
        state = replace(state, request=request)
        with serve_drill(request, self._write_first_line):
            runner = self._team(request).executor()
            return self._drive(name, lambda: runner.start(run_id=name, initial_state=state), runner)

    def command(self, verb: str, run_id: str, *more: str) -> str:
        """Return a command that can be pasted into a shell."""
        return pasteable(verb, run_id, self.db, *more)

    # ------------------------------------------------------------------ inside

    def _team(self, request: RunRequest) -> Team:
        return Team(self.store, self.database, self.site, request, load_model(self.model or request.model))

    def _write_first_line(self, text: str) -> None:
        (write_line if self.output == "text" else write_error)(text)

    def _drive(self, run_id: str, work: Callable[[], Any], runner: AgentRunner) -> int:
        record_settings(run_id, self.database, self.site)
        tracing = contextlib.nullcontext() if self.trace is None else runner.tracing(run_id, self.trace)
        result: RunResult | None = None
        problem = ""
        try:
            with tracing:
                result = run_async(work(), hint=f"Resume: {self.command('resume', run_id)}")
        except (RunnerError, OSError) as exc:
            if result is None:
                raise
            problem = one_line(str(exc))  # only the trace failed: the result is still printed
        finally:
            if self.store.reader.get_run(run_id) is not None:
                head = update_audit_trail(Runs(self.store), run_id, self.database)
        self._print(run_id, result, str(head))
        if problem:
            write_error(problem)
        return self._exit_code(result) or (ExitCode.FAILED if problem else ExitCode.DONE)

    def _print(self, run_id: str, result: RunResult, head: str) -> None:
        runs = Runs(self.store)
        notify(self.site, self.database, runs, run_id, head)
        if self.output == "text":
            for line in status_lines(runs, run_id, command=self.command):
                write_line(line, keep_lines=False)
            write_error(f"audit head {head}")
        else:
            run = runs.get(run_id)
            members = {name: run[name] for name in _JSON_MEMBERS}
            members |= {"approvals": pending_approvals(runs, run_id), "audit_head": head}
            write_json({**members, "exit_code": int(self._exit_code(result))}, self.output)

    @staticmethod
    def _exit_code(result: RunResult) -> ExitCode:
        if result.status != "completed":
            return exit_code_of_status(result.status, result.error.category if result.error else None)
        outcome = current_outcome(result.result["outcome"])
        if outcome in GOOD or outcome == "rolled_back":
            return ExitCode.DONE
        return ExitCode.DENIED if outcome == "denied" else ExitCode.FAILED
