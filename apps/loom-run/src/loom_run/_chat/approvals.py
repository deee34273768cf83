"""Tool calls that wait for approval: find them, and decide."""

import json
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from flow_xray.terminal import visible_line
from loom_agents import check_arguments
from loom_agents.cli import Request, request_name, requests_in_tree
from loom_agents.redaction import redact_text
from loom_runner import LocalEngine, Runs, SQLiteStore, ToolFailed, ToolRegistry
from loom_runner.cli_base import local_user, run_async

from loom_run._errors import LoomRunError
from loom_run._text import argument_text

Decision: TypeAlias = Literal["approve", "deny", "edit"]


def approval_requests(store: SQLiteStore, run_id: str | None = None, *, pending_only: bool = True) -> list[Request]:
    """Read the requests of a run and its children, or of all runs."""
    runs = Runs(store)
    found = requests_in_tree(runs.approvals(pending_only=pending_only), run_id)
    return [row for row in found if not (pending_only and _has_ended(runs.get(row["run_id"])))]


def select_requests(
    store: SQLiteStore, run_id: str, number: int | None, verb: str, *, every: bool = False
) -> list[Request]:
    """Find the requests that a command is about: the one with this number, the only pending one, or
    all.

    Args:
        store: The database.
        run_id: The run.
        number: The number of the request; None for the only pending one of the run and its
            children.
        verb: The command, for messages: `approve` or `deny`.
        every: Select all pending requests.

    Raises:
        LoomRunError: Nothing is pending, or it is not clear which one is meant.
        UnknownRun: There is no such run.
    """
    Runs(store).get(run_id)
    if number is not None:
        found = [
            row
            for row in approval_requests(store, pending_only=False)
            if (row["run_id"], row["number"]) == (run_id, number)
        ]
        return found or [{"run_id": run_id, "number": number}]  # the runner reports what is wrong with it
    pending = approval_requests(store, run_id)
    if not pending:
        raise LoomRunError(
            f"cannot {verb} a call of {run_id!r}: none waits for approval. See loom-run approvals.",
            run_id=run_id,
        )
    if len(pending) > 1 and not every:
        labels = ", ".join(request_label(row) for row in pending)
        raise LoomRunError(
            f"cannot {verb} one call of {run_id!r}: {len(pending)} wait: {labels}. Name one, or use --all.",
            run_id=run_id,
        )
    return pending


def decide(
    store: SQLiteStore,
    request: Request,
    decision: Decision,
    *,
    via: str,
    note: str = "",
    arguments: Mapping[str, Any] | None = None,
    tools: ToolRegistry | None = None,
) -> None:
    """Record the decision of the user of this process about a request, as it was shown.

    Raises:
        RunnerError: It was decided or edited before, has expired, there is no such request, or it
            is one of another product, which alone decides about it.
        LoomRunError: The edited arguments do not fit the tool.
    """
    if arguments is not None and tools is not None and request.get("tool") in tools:
        try:
            check_arguments(request["tool"], tools.get(request["tool"]).schema(), arguments)
        except ToolFailed as exc:
            raise LoomRunError(exc.message) from exc
    run = Runs(store).get(request["run_id"])
    if _has_ended(run):
        raise LoomRunError(
            f"cannot {decision} request {request['number']} of {request['run_id']!r}: the run is {run['status']}.",
            run_id=request["run_id"],
        )
    work = LocalEngine(store).decide(
        run_id=request["run_id"],
        number=request["number"],
        how=decision,
        by=local_user(),
        via=via,
        note=redact_text(note),
        arguments=arguments,
        shown=request.get("final_hash"),
    )
    run_async(work)


def parse_arguments(text: str) -> dict[str, Any]:
    """Parse the arguments of a tool call that a person wrote.

    Raises:
        LoomRunError: They are not a JSON object.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise LoomRunError(f"cannot use these arguments: they are not JSON ({exc}).") from exc
    if not isinstance(value, dict):
        raise LoomRunError('cannot use these arguments: they are not a JSON object, such as {"path": "x"}.')
    return value


def request_label(request: Request) -> str:
    """Name a request as commands accept it, with its tool and main argument."""
    call = f"{request['tool']} {argument_text(request['arguments'])}".rstrip()
    return visible_line(f"{request_name(request)} ({call})")


def _has_ended(run: Mapping[str, Any]) -> bool:
    return run["status"] in {"completed", "cancelled"}
