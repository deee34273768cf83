"""The commands that read a database."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from loom_runner._cli.base import Count
from loom_runner._cli.options import (
    NamedRun,
    db_option,
    db_suffix,
    json_text,
    local_time,
    open_database,
    open_run_database,
    parse_run,
    query_all_options,
    query_options,
)
from loom_runner._cli.output import (
    Output,
    choose_output,
    output_option,
    styled,
    styled_status,
    terminal_width,
    write_error,
    write_json,
    write_line,
    write_rows,
)
from loom_runner._model.formatting import duration, shorten
from loom_runner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from loom_runner._store.protocol import StoreReader

__all__ = ["QUERY_COMMANDS"]

_COLOURS = {"interrupted": "yellow", "retried": "yellow", "failed": "red", "error": "red", "result": "green"}


def _paged(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--first", type=Count(min=0), default=0, help="Begin at this step."),
        click.option("--limit", type=Count(min=1), default=1000, show_default=True, help="Show at most this many."),
    ):
        command = option(command)
    return command


@click.command("explain")
@query_options
def explain_command(names: tuple[str, ...], run_id: str | None, db: str, output: Output | None) -> None:
    """Explain what happened to a run.

    Shows pauses, crashes, retries, calls in doubt, code changes, and the commands that are useful
    next.
    """
    from flow_xray.terminal import visible_line

    from loom_runner._queries.explain import explain

    named = parse_run(names, run_id, "explain")
    with open_run_database(db, named.run_id, "explain") as store:
        story = explain(store.reader, named.run_id, module=named.module)
    mode = choose_output(output)
    if mode != "text":
        write_json(story.data, mode)
        return
    data = story.data
    write_line(f"{styled(named.run_id, bold=True)}  {styled_status(data['status'])}  {data['summary']}")
    lines = [(what, visible_line(text), at) for what, text, at in story.lines()]
    wide = max((len(what) for what, _, _ in lines), default=0)
    longest = max((len(text) for _, text, at in lines if at), default=0)
    longest = min(longest, max(terminal_width() - wide - 14, 20))  # the times are aligned if there is room
    for what, text, at in lines:
        line = f"  {styled(f'{what:<{wide}}', fg=_COLOURS.get(what))}  "
        write_line(line + (f"{text:<{longest}}  {styled(at, dim=True)}" if at else text))
    for what, command in data["next"].items():
        write_error(f"{what}: {command}")


_RUNS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "run": lambda row: row["run_id"],
    "status": lambda row: styled_status(row["status"]),
    "steps": lambda row: f"{row['step_index']:,}",
    "changed": lambda row: local_time(row["updated_at"]),
    "program": lambda row: row["program"],
}


@click.command("list")
@click.option("--status", "statuses", metavar="STATUS", multiple=True, help="Only this status; may be repeated.")
@click.option("--agent", metavar="NAME", help="Only runs of this agent (the column program).")
@click.option("--prefix", metavar="TEXT", help="Only run ids that begin with this.")
@click.option("--search", "text", metavar="TEXT", help="Only run ids that contain this.")
@click.option("--limit", type=Count(min=1), default=100, show_default=True, help="Show at most this many.")
@click.option("--after", metavar="RUN", help="Begin after this run, the last one of the previous page.")
@db_option
@output_option
def list_command(
    *,
    statuses: tuple[str, ...],
    agent: str | None,
    prefix: str | None,
    text: str | None,
    limit: int,
    after: str | None,
    db: str,
    output: Output | None,
) -> None:
    """List the runs of a database, the most recently changed first.

    A run is interrupted if its process is gone before the run has ended.
    """
    from loom_runner._queries.search import search_runs
    from loom_runner._queries.views import run_view
    from loom_runner._store.lookup import read_run

    with open_database(db, "list runs") as store:
        last = None if after is None else read_run(store.reader, after, "list the runs after")
        found = search_runs(
            store.reader, limit=limit, statuses=statuses, agent=agent, prefix=prefix, text=text, after=last
        )
        rows = [run_view(record) for record in found]
    mode = choose_output(output)
    is_filtered = bool(statuses or agent or prefix or text or after)
    write_rows(rows, _RUNS, mode, empty=f"{db} has no {'such ' if is_filtered else ''}runs.")
    if len(rows) >= limit and mode == "text":
        write_error(f"more may follow: --after {shlex.quote(rows[-1]['run_id'])}, or --limit {limit * 10}")


@click.command()
@query_options
@click.option("--raw", is_flag=True, help="Print only the state, as it is stored.")
def get(*, names: tuple[str, ...], run_id: str | None, db: str, output: Output | None, raw: bool) -> None:
    """Show a run's row: status, state, result, error.

    RUN#3 shows a tool call, RUN#r3 an approval request.
    """
    from loom_runner._queries.views import run_view
    from loom_runner._store.lookup import read_run

    named = parse_run(names, run_id, "get")
    with open_run_database(db, named.run_id, "get") as store:
        record = read_run(store.reader, named.run_id, "get")
        view = run_view(record) if named.item is None else _item(store.reader, named)
    if raw:
        write_line(record.state)
        return
    mode = choose_output(output)
    if mode != "text":
        write_json(view, mode)
        return
    for key, value in view.items():
        if value is not None:
            write_line(f"{key:<21} {value if isinstance(value, str) else json_text(value)}")


def _item(reader: StoreReader, named: NamedRun) -> dict[str, Any]:
    """Return the tool call or the approval request that was named."""
    from loom_runner._queries.approvals import read_approvals
    from loom_runner._queries.views import approval_view, tool_view
    from loom_runner._store.in_doubt import read_tool_calls

    views = [tool_view(call) for call in read_tool_calls(reader, named.run_id, first=named.call or 0, limit=1)]
    if named.request is not None:
        views = [approval_view(request) for request in read_approvals(reader, named.run_id)]
    for view in views:
        if view["id"] == named.item:
            return view
    raise UsageError(f"cannot get {named.item}: the run has no such {'call' if named.call else 'request'}.")


def _state_text(row: Mapping[str, Any]) -> str:
    decided = [
        f"{each['id']} {each['tool']}: {each['how']} by {each['by']}" + (f" ({each['note']})" if each["note"] else "")
        for each in row["decisions"]
    ]
    return "; ".join([*decided, *([] if row["state"] is None else [json_text(row["state"])])])


@click.command()
@query_options
@_paged
def history(
    *, names: tuple[str, ...], run_id: str | None, db: str, output: Output | None, first: int, limit: int
) -> None:
    """Show the committed steps and their checkpoints."""
    from loom_runner._queries.views import step_views

    name = parse_run(names, run_id, "show the history of").run_id
    with open_run_database(db, name, "show the history of") as store:
        rows = step_views(store.reader, name, first=first, limit=limit)
    columns: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "step": lambda row: str(row["step_index"]),
        "outcome": lambda row: row["outcome"],
        "tries": lambda row: str(row["attempts"]),
        "at": lambda row: local_time(row["started_at"]),
        "took": lambda row: duration(row["duration_ms"] * 1000),
        "state": _state_text,
    }
    write_rows(rows, columns, choose_output(output), empty=f"{name} has no committed steps from {first} on.")
    if rows and rows[0]["step_index"] > first:
        write_error(f"history starts at step {rows[0]['step_index']}: earlier steps are not kept.")
    _hint_more(rows, limit)


@click.command()
@query_options
@_paged
def attempts(
    *, names: tuple[str, ...], run_id: str | None, db: str, output: Output | None, first: int, limit: int
) -> None:
    """Show every attempt of every step, including failed ones."""
    from loom_runner._queries.views import attempt_views
    from loom_runner._store.lookup import read_run

    name = parse_run(names, run_id, "show the attempts of").run_id
    with open_run_database(db, name, "show the attempts of") as store:
        record = read_run(store.reader, name, "show the attempts of")
        rows = attempt_views(store.reader, record, first=first, limit=limit)
    columns: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "step": lambda row: str(row["step_index"]),
        "try": lambda row: str(row["attempt"] + 1),
        "outcome": lambda row: styled_status(row["outcome"]),
        "at": lambda row: local_time(row["started_at"]),
        "took": lambda row: "" if row["duration_ms"] is None else duration(row["duration_ms"] * 1000),
        "error": lambda row: f"{row['error']['type']}: {row['error']['message']}" if row["error"] else "",
    }
    write_rows(rows, columns, choose_output(output), empty=f"{name} has no attempts from step {first} on.")
    _hint_more(rows, limit)


def _call_text(row: Mapping[str, Any]) -> str:
    text = shorten(json_text(row["arguments"]), 60)
    if row["status"] == "done":
        return f"{text} -> {json_text(row['result'])}"
    return f"{text} -> {row['error']['type']}: {row['error']['message']}" if row["error"] else text


_CALLS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "call": lambda row: row["id"],
    "step": lambda row: str(row["step_index"]),
    "tool": lambda row: row["name"],
    "status": lambda row: styled_status(row["status"]),
    "tries": lambda row: str(row["tries"]),
    "took": lambda row: "" if row["duration_ms"] is None else duration(row["duration_ms"] * 1000),
    "arguments -> result": _call_text,
}


@click.command("tool-calls")
@query_options
@click.option("--first", type=Count(min=0), default=0, help="Begin at this call: 7 for RUN#7.")
@click.option("--limit", type=Count(min=1), default=1000, show_default=True, help="Show at most this many.")
def tool_calls(
    *, names: tuple[str, ...], run_id: str | None, db: str, output: Output | None, first: int, limit: int
) -> None:
    """Show the tool ledger of a run.

    RUN#3 shows one call of it.
    """
    from loom_runner._queries.views import tool_view
    from loom_runner._store.in_doubt import read_tool_calls

    named = parse_run(names, run_id, "show the tool calls of")
    name = named.run_id
    first, limit = (first, limit) if named.call is None else (named.call, 1)
    with open_run_database(db, name, "show the tool calls of") as store:
        found = read_tool_calls(store.reader, name, first=first, limit=limit)
    rows = [tool_view(call) for call in found if named.call in (None, call.number)]
    empty = f"{name} has called no tools." if named.call is None and not first else f"{name} has no such call."
    write_rows(rows, _CALLS, choose_output(output), empty=empty)
    if len(rows) >= limit > 1:
        write_error(f"more may follow: --first {found[-1].number + 1}")


@click.command()
@query_all_options
def doubts(names: tuple[str, ...], run_id: str | None, db: str, output: Output | None) -> None:
    """Show the tool calls in doubt.

    They started and have no recorded end. Without RUN, those of all runs.
    """
    from loom_runner._queries.views import tool_view
    from loom_runner._store.in_doubt import read_tool_calls
    from loom_runner._store.lookup import read_run

    named = parse_run(names, run_id, "show the calls in doubt of") if names or run_id else None
    name = None if named is None else named.run_id
    with open_database(db, "show calls in doubt") as store:
        if name is not None:
            read_run(store.reader, name, "show the calls in doubt of")
        found = read_tool_calls(store.reader, name, in_doubt=True)
        rows = [tool_view(call) for call in found if named is None or named.call in (None, call.number)]
    columns = {head: _CALLS[head] for head in ("call", "step", "tool", "tries")} | {
        "since": lambda row: local_time(row["started_at"]),
        "arguments": lambda row: json_text(row["arguments"]),
    }
    mode = choose_output(output)
    write_rows(rows, columns, mode, empty="No call is in doubt.")
    if rows and mode == "text":
        write_error(
            f"decide: loom-runner resolve {shlex.quote(rows[0]['id'])} --retry | --skip | --result JSON{db_suffix(db)}"
        )


@click.command()
@query_options
def children(names: tuple[str, ...], run_id: str | None, db: str, output: Output | None) -> None:
    """Show the child runs of a run."""
    from loom_runner._queries.views import run_view

    name = parse_run(names, run_id, "show the children of").run_id
    with open_run_database(db, name, "show the children of") as store:
        rows = [run_view(record) for record in store.reader.children(name)]
    write_rows(rows, _RUNS, choose_output(output), empty=f"{name} has started no runs.")


@click.command()
@db_option
@output_option
def stats(db: str, output: Output | None) -> None:
    """Count runs, tool calls and approvals by status."""
    from loom_runner._queries.search import count_rows

    with open_database(db, "count") as store:
        counts = count_rows(store.reader)
    mode = choose_output(output)
    if mode != "text":
        write_json(counts, mode)
        return
    for name, by_status in counts.items():
        parts = [f"{count:,} {styled_status(status)}" for status, count in sorted(by_status.items())]
        write_line(f"{name.replace('_', ' '):<10}  {sum(by_status.values()):>8,}  {', '.join(parts)}".rstrip())


def _hint_more(rows: list[dict[str, Any]], limit: int) -> None:
    if len(rows) >= limit:
        write_error(f"more may follow: --first {rows[-1]['step_index'] + 1}")


QUERY_COMMANDS: tuple[click.Command, ...] = (
    explain_command,
    list_command,
    get,
    history,
    attempts,
    tool_calls,
    doubts,
    children,
    stats,
)
