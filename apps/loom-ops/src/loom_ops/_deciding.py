"""Decide about requests: find what is meant, see whether this person may, write it down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from loom_runner.cli_base import ExitCode

from loom_ops._audit import AuditTrail, Fact
from loom_ops._errors import LoomOpsError
from loom_ops._people import Person, objection
from loom_ops._team import now_iso

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from loom_runner import AgentRunner

    from loom_ops._site import Site

__all__ = ["decide", "must_be_allowed_to_resolve", "name_of", "one_request", "refused", "requests_of"]

Request = dict[str, Any]


def requests_of(reader: AgentRunner, run_id: str | None, *, pending_only: bool = True) -> list[Request]:
    """Return the requests of a run and its children, or of all."""
    found = reader.approvals(pending_only=pending_only)
    return [row for row in found if run_id is None or _is_of(row["run_id"], run_id)]


def _is_of(run_id: str, parent: str) -> bool:
    return run_id == parent or run_id.startswith(f"{parent}:sub:")


def one_request(reader: AgentRunner, run_id: str, number: int | None, verb: str) -> Request:
    """Return the request that a person means: the one of this number, or the only one that is pending.

    Raises:
        LoomOpsError: There is none, or there are several.
    """
    reader.get(run_id)  # says when there is no such run
    found = requests_of(reader, run_id, pending_only=number is None)
    if number is not None:
        found = [row for row in found if row["number"] == number and row["run_id"] == run_id] or [
            row for row in found if row["number"] == number
        ]
    if not found:
        what = "nothing of it waits for approval" if number is None else f"it has no request {number}"
        raise LoomOpsError(f"cannot {verb} {run_id!r}: {what}. See loom-ops approvals.", run_id=run_id)
    if len(found) > 1:
        names = ", ".join(name_of(row) for row in found)
        raise LoomOpsError(f"cannot {verb} {run_id!r}: {len(found)} requests wait: {names}. Name one.", run_id=run_id)
    return found[0]


def name_of(request: Mapping[str, Any]) -> str:
    """Name a request as the commands take it."""
    return f"{request['run_id']}#{request['number']}"


async def decide(
    reader: AgentRunner,
    request: Request,
    how: Literal["approve", "deny"],
    person: Person,
    *,
    note: str,
    site: Site,
    database: Path,
) -> dict[str, Any]:
    """Write a person's word down, if they may give it; a refusal is written down, too.

    Raises:
        LoomOpsError: They may not; exit code 5.
        RunnerError: It was decided before, or has expired.
    """
    if how == "approve":
        _must_be_allowed("approve", request, person, site, database)
    return await reader.decide(
        run_id=request["run_id"], number=request["number"], how=how, by=person.name, via=person.via, note=note
    )


def must_be_allowed_to_resolve(
    rows: AgentRunner, run_id: str, call: int, person: Person, *, site: Site, database: Path
) -> None:
    """Refuse whoever may not approve a command to say what became of it: that could start it once more.

    Raises:
        LoomOpsError: They may not; exit code 5.
    """
    doubts = [row for row in rows.doubts(run_id) if row["id"] == f"{run_id}#{call}"]
    for request in rows.approvals(run_id):
        if any((request["key"], request["step_index"]) == (row["key"], row["step_index"]) for row in doubts):
            _must_be_allowed("resolve", request, person, site, database)


def _must_be_allowed(verb: str, request: Request, person: Person, site: Site, database: Path) -> None:
    requester = str(request["policy"].get("requester", ""))
    why = objection(person, request["policy"], requester=requester, groups=site.groups, database=database)
    if why is None:
        return
    trail = AuditTrail(database)
    trail.append([refused(request, person, why)])
    trail.close()
    raise LoomOpsError(f"cannot {verb} {name_of(request)}: {why}.", exit_code=ExitCode.DENIED, run_id=request["run_id"])


def refused(request: Mapping[str, Any], person: Person, why: str) -> Fact:
    """Return what is remembered of somebody who may not decide."""
    at = now_iso()
    said = {"approval": request["number"], "via": person.via, "why": why}
    return Fact(f"{name_of(request)}/refused/{at}", request["run_id"], at, "approval.refused", person.name, said)
