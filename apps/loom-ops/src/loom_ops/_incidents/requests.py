"""Build the request of a new run from the user's input, and read that of a stored run."""

from __future__ import annotations

import json
import secrets
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from loom_agents.memory import as_untrusted_text
from loom_agents.redaction import redact_text
from loom_runner import Runs, UnknownRun
from loom_runner.cli_base import ExitCode
from loom_runner.run_ids import is_child, root_run_id

from loom_ops._approvals.people import local_person
from loom_ops._audit.facts import is_request_recorded
from loom_ops._audit.trail import open_trail
from loom_ops._clock import now_iso
from loom_ops._drill import Drill
from loom_ops._errors import LoomOpsError
from loom_ops._incidents.models import choose_model, stored_model
from loom_ops._memory import open_memory
from loom_ops._run_ids import check_new_incident_id, incident_id
from loom_ops._runbook.catalog import choose_runbook, find_runbook, served_runbook
from loom_ops._runbook.inputs import input_values
from loom_ops._runbook.parse import require_runbook
from loom_ops._team.states import RunRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loom_runner import SQLiteStore
    from loom_runner.store import RunRecord

    from loom_ops._approvals.people import Person
    from loom_ops._runbook.model import Runbook
    from loom_ops._site import Site

__all__ = ["build_request", "check_same_incident", "known_facts", "new_run_id", "stored_request"]


def build_request(
    site: Site,
    incident: str,
    runbook: str | None,
    inputs: Mapping[str, str],
    *,
    run_id: str,
    database: Path,
    drill: bool,
    model: str,
    requester: Person | None = None,
    is_served: bool = False,
) -> RunRequest:
    """Build the request of a new run: choose the runbook, check its inputs, set up a drill.

    A drill is used when the user requests it, or when the folder has neither settings, runbooks,
    rules nor a target.

    Args:
        runbook: A file or a name; None chooses by the words of the incident.
        inputs: The values that the user gave.
        drill: Whether the user requested a drill.
        requester: Who requests the run, as the interface has proven; None for the user of this
            process.
        is_served: Whether a client of the server requests it, which can start only what it offers.

    Raises:
        LoomOpsError: No runbook fits, or an input is missing or wrong.
    """
    check_new_incident_id(run_id)
    choose_model(model)  # report a model that cannot be used now, not during the run
    if is_served:
        source, text = served_runbook(site, runbook, incident)
    else:
        source, text = choose_runbook(site, incident) if runbook is None else find_runbook(site, runbook)
    chosen = require_runbook(text, source)
    is_bare = not (site.is_written or site.runbooks.exists() or site.rules.exists() or inputs)
    folder = None
    if drill or (is_bare and runbook is None and _lacks_target(chosen)):
        if not {"url", "service"} <= chosen.inputs.keys():
            raise LoomOpsError(
                f"cannot start a drill with {chosen.name}: it has no inputs url and service. Choose another runbook."
            )
        folder = _drill_folder(database, run_id)
        with Drill(folder).serving() as url:
            inputs = {**inputs, "url": url}
    values = input_values(chosen, inputs)
    drill_folder = None if folder is None else str(folder)
    person = requester or local_person(site)
    shown = redact_text(incident)
    return RunRequest(shown, person.name, source, text, values, drill_folder, model, person.identity)


def stored_request(store: SQLiteStore, run_id: str) -> RunRequest:
    """Read the request of a run.

    A child has the request of its root, whose input the audit trail records. A fork has none: it
    would run the steps again in the name of who requested the original.

    Raises:
        UnknownRun: There is no such run.
        LoomOpsError: It is not a run of loom-ops, or a fork; or its input is not the one that the
            audit trail recorded (exit code 5).
    """
    record = store.reader.get_run(run_id)
    root = record if record is None or not is_child(run_id) else store.reader.get_run(root_run_id(run_id))
    if record is None or root is None:
        raise UnknownRun(f"cannot resume {run_id!r}: there is no such run in {store.description}.", run_id=run_id)
    record = root
    try:
        request = RunRequest(**json.loads(record.input)["request"])
        model = stored_model(request.model)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as exc:
        raise LoomOpsError(f"cannot resume {run_id!r}: it is not a run of loom-ops supervise.", run_id=run_id) from exc
    _check_requested(store, record)
    # Programs are written into the folder of a drill and started there: it is never taken from a
    # row.
    drill = None if request.drill is None else str(_drill_folder(Path(store.address), incident_id(run_id)))
    return replace(request, model=model, drill=drill)


def _check_requested(store: SQLiteStore, record: RunRecord) -> None:
    run_id = record.run_id
    if record.forked_from is not None:
        raise LoomOpsError(
            f"cannot resume {run_id!r}: it is a fork, which nobody has requested. Start a new run.", run_id=run_id
        )
    with open_trail(store.address) as trail:
        if is_request_recorded(Runs(store), run_id, trail):
            return
    raise LoomOpsError(
        f"cannot resume {run_id!r}: its input is not the one that the audit trail recorded, so somebody has changed "
        "the database. See loom-ops audit verify.",
        exit_code=ExitCode.DENIED,
        run_id=run_id,
    )


def _drill_folder(database: Path, run_id: str) -> Path:
    name = run_id.replace("/", "_")
    return database.parent / f"{database.name}.drill" / (f"_{name}" if name in (".", "..") else name)


def check_same_incident(store: SQLiteStore, run_id: str, incident: str, *, hint: str = "") -> None:
    """Check that an existing run has this incident.

    Args:
        hint: A sentence for the error message: what to do.

    Raises:
        LoomOpsError: It has another incident.
    """
    stored = stored_request(store, run_id).incident
    if stored != redact_text(incident):
        text = f"cannot start {run_id!r}: a run with this id exists for {stored[:80]!r}. {hint}"
        raise LoomOpsError(text.rstrip(), run_id=run_id)


def known_facts(database: Path, incident: str) -> str:
    """Return the facts of earlier runs that match an incident, as text for the planner."""
    with closing(open_memory(database)) as memory:
        return as_untrusted_text(memory.search(incident, now_iso()))


def new_run_id() -> str:
    """Return an id for a new run: the time to the minute, and four random digits."""
    return f"inc-{datetime.now(UTC):%Y%m%d-%H%M}-{secrets.token_hex(2)}"


def _lacks_target(runbook: Runbook) -> bool:
    try:
        input_values(runbook, {})
    except LoomOpsError:
        return "url" in runbook.inputs
    return False
