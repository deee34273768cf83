"""Calls that wait for a person: find them, show what they would do, decide."""

import getpass
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from loom_agents import check_arguments
from loom_runner import SQLiteStore, ToolFailed, ToolRegistry
from loom_runner.cli_base import Output, plural, run_async, styled_status, write_error, write_json, write_line

from loom_run._errors import LoomRunError
from loom_run._lines import argument_text, printable
from loom_run._reader import reader

MAX_SHOWN_LINES = 40

Request: TypeAlias = Mapping[str, Any]
"""A request for approval, as `loom_runner` shows it: run_id, number, tool, arguments, reason, expires_at, ..."""

How: TypeAlias = Literal["approve", "deny", "edit"]


def person() -> str:
    """Name who sits at the keyboard, as far as the system knows."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def requests_of(store: SQLiteStore, run_id: str | None = None, *, pending_only: bool = True) -> list[Request]:
    """Read the requests of a run and its children, or of all runs."""
    runner = reader(store)
    found = [
        row for row in runner.approvals(pending_only=pending_only) if run_id is None or is_of(row["run_id"], run_id)
    ]
    return [row for row in found if not (pending_only and _is_over(runner.get(row["run_id"])))]


def is_of(run_id: str, parent: str) -> bool:
    """Say whether a run is this one, or was started by it."""
    return run_id == parent or run_id.startswith(f"{parent}:sub:")


def _is_over(run: Mapping[str, Any]) -> bool:
    return run["status"] in {"completed", "cancelled"}


def chosen(store: SQLiteStore, run_id: str, number: int | None, verb: str, *, every: bool = False) -> list[Request]:
    """Find what a person means: the request of this number, or the only one that waits, or all.

    Args:
        store: the database.
        run_id: the run.
        number: which request of it; None for the only one of the run and its children.
        verb: what is to be done, for messages.
        every: all that wait.

    Raises:
        LoomRunError: nothing waits, or it is not clear which one is meant.
        UnknownRun: there is no such run.
    """
    reader(store).get(run_id)
    if number is not None:
        return [
            row for row in requests_of(store, pending_only=False) if (row["run_id"], row["number"]) == (run_id, number)
        ] or [
            {"run_id": run_id, "number": number}  # the runner says what is wrong with it
        ]
    waiting = requests_of(store, run_id)
    if not waiting:
        raise LoomRunError(
            f"cannot {verb} anything of {run_id!r}: no call of it waits for approval. See loom-run approvals.",
            run_id=run_id,
        )
    if len(waiting) > 1 and not every:
        names = ", ".join(name_of(row) for row in waiting)
        raise LoomRunError(
            f"cannot {verb} one call of {run_id!r}: {len(waiting)} wait: {names}. Name one, or use --all.",
            run_id=run_id,
        )
    return waiting


def decide(
    store: SQLiteStore,
    request: Request,
    how: How,
    *,
    via: str,
    note: str = "",
    arguments: Mapping[str, Any] | None = None,
    tools: ToolRegistry | None = None,
) -> None:
    """Write a person's word down.

    Raises:
        RunnerError: it was decided before, has expired, or there is no such request.
        LoomRunError: the edited arguments do not fit the tool.
    """
    if arguments is not None and tools is not None and request.get("tool") in tools:
        try:
            check_arguments(request["tool"], tools.get(request["tool"]).schema(), arguments)
        except ToolFailed as exc:
            raise LoomRunError(exc.message) from exc
    run = reader(store).get(request["run_id"])
    if _is_over(run):
        raise LoomRunError(
            f"cannot {how} request {request['number']} of {request['run_id']!r}: the run is {run['status']}.",
            run_id=request["run_id"],
        )
    work = reader(store).decide(
        run_id=request["run_id"],
        number=request["number"],
        how=how,
        by=person(),
        via=via,
        note=note,
        arguments=arguments,
    )
    run_async(work)


def name_of(request: Request) -> str:
    """Name a request the way that commands take it, with what it is about."""
    what = argument_text(request["arguments"])
    return printable(f"{request['run_id']}#{request['number']} ({request['tool']} {what})")


def preview(tool: str, arguments: Mapping[str, Any]) -> list[str]:
    """Show what a call would do, in at most 40 lines."""
    match tool, arguments:
        case "edit_file", {"path": str(path), "old": str(old), "new": str(new)}:
            lines = [path, *_signed("-", old), *_signed("+", new)]
        case "write_file", {"path": str(path), "text": str(text)}:
            lines = [path, *_signed("+", text)]
        case "apply_patch", {"patch": str(patch)}:
            lines = patch.splitlines()
        case "git_commit", {"message": str(message)}:
            lines = message.splitlines()
        case _:
            lines = json.dumps(dict(arguments), ensure_ascii=False, indent=2).splitlines()
    shown = [printable(line) for line in lines[:MAX_SHOWN_LINES]]
    left = len(lines) - len(shown)
    return [*shown, f"... {plural(left, 'more line')}"] if left else shown


def write_requests(requests: Sequence[Request], output: Output) -> None:
    """List requests, each with what it would do."""
    if output == "json":
        write_json(list(requests))
    elif output == "jsonl":
        for request in requests:
            write_json(request, "jsonl")
    elif not requests:
        write_error("no call waits for approval")
    else:
        for line in _listed(requests):
            write_line(line)


def _listed(requests: Sequence[Request]) -> Iterable[str]:
    for request in requests:
        until = f", expires {request['expires_at']}" if request["expires_at"] else ""
        edited = request["edited_arguments"]
        yield f"{name_of(request)}  {styled_status(request['status'])}  {request['reason']}{until}"
        for line in preview(request["tool"], request["arguments"] if edited is None else edited):
            yield f"    {line}"
        for decision in request["decisions"]:
            note = f": {decision['note']}" if decision["note"] else ""
            yield printable(f"    {decision['how']} by {decision['by']} ({decision['via']}) {decision['at']}{note}")


def _signed(sign: str, text: str) -> list[str]:
    return [f"{sign} {line}" for line in text.splitlines()]
