"""The commands of `loom-runner` that need no module: they ask a database about its runs, or answer for a person."""

from __future__ import annotations

import contextlib
import getpass
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import click

from loom_runner._errors import UnknownRun, UsageError
from loom_runner.cli_base import (
    Output,
    choose_output,
    duration,
    output_option,
    run_async,
    shorten,
    styled_status,
    write_error,
    write_json,
    write_line,
    write_rows,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from loom_runner._records import RunRecord
    from loom_runner._sqlite import SQLiteStore

__all__ = ["ROW_COMMANDS", "db_option", "db_suffix", "require_database"]

DEFAULT_DB = "runs.sqlite"

db_option = click.option("--db", default=DEFAULT_DB, show_default=True, help="The database file.")


# ---------------------------------------------------------------------- asking


def _asking(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of the commands that read one run: `[MODULE] --run-id ID`, or just the ID."""
    for option in (
        output_option,
        db_option,
        click.option("--run-id", help="The run."),
        click.argument("target", required=False, metavar="[MODULE | RUN]"),
    ):
        command = option(command)
    return command


_paging = (
    click.option("--first", type=click.IntRange(min=0), default=0, help="Begin at this step."),
    click.option("--limit", type=click.IntRange(min=1), default=1000, show_default=True, help="So many at most."),
)


def _paged(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in _paging:
        command = option(command)
    return command


@click.command("explain")
@_asking
def explain_command(target: str | None, run_id: str | None, db: str, output: Output | None) -> None:
    """Tell what happened to a run."""
    from loom_runner._explain import explain  # noqa: PLC0415

    with _reading(db, target, run_id, "explain") as (store, name):
        story = explain(store, name, module=target if run_id and target else "MODULE")
    mode = choose_output(output)
    if mode != "text":
        write_json(story.data, mode)
        return
    data = story.data
    write_line(f"{click.style(name, bold=True)}  {styled_status(data['status'])}  {data['summary']}")
    lines = story.lines()
    wide = max((len(what) for what, _, _ in lines), default=0)
    longest = max((len(text) for _, text, at in lines if at), default=0)
    for what, text, at in lines:
        colour = {"interrupted": "yellow", "retried": "yellow", "failed": "red", "error": "red", "result": "green"}.get(
            what
        )
        line = f"  {click.style(f'{what:<{wide}}', fg=colour)}  "
        write_line(line + (f"{text:<{longest}}  {click.style(at, dim=True)}" if at else text))
    for what, command in data["next"].items():
        write_error(f"{what}: {command}")


@click.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="So many at most.")
@db_option
@output_option
def list_command(limit: int, db: str, output: Output | None) -> None:
    """List the runs of a database, the latest changed first."""
    from loom_runner._views import run_view  # noqa: PLC0415

    with _opened(db, "list runs") as store:
        rows = [run_view(record) for record in store.list_runs(limit=limit)]
    columns: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "run": lambda row: row["run_id"],
        "status": lambda row: styled_status(row["status"]),
        "steps": lambda row: f"{row['step_index']:,}",
        "changed": lambda row: _local(row["updated_at"]),
        "program": lambda row: row["program"],
    }
    write_rows(rows, columns, choose_output(output), empty=f"{db} holds no runs.")


@click.command()
@_asking
def get(target: str | None, run_id: str | None, db: str, output: Output | None) -> None:
    """Show a run's row: status, state, result, error."""
    from loom_runner._views import run_view  # noqa: PLC0415

    with _reading(db, target, run_id, "get") as (store, name):
        view = run_view(cast("RunRecord", store.get_run(name)))
    mode = choose_output(output)
    if mode != "text":
        write_json(view, mode)
        return
    for key, value in view.items():
        if value is not None:
            write_line(f"{key:<21} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")


@click.command()
@_asking
@_paged
def history(*, target: str | None, run_id: str | None, db: str, output: Output | None, first: int, limit: int) -> None:
    """Show the committed steps and their checkpoints."""
    from loom_runner._views import step_view  # noqa: PLC0415

    with _reading(db, target, run_id, "show the history of") as (store, name):
        rows = [step_view(step) for step in store.steps(name, first=first, limit=limit)]
    columns: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "step": lambda row: str(row["step_index"]),
        "outcome": lambda row: row["outcome"],
        "tries": lambda row: str(row["attempts"]),
        "at": lambda row: _local(row["started_at"]),
        "took": lambda row: duration(row["duration_ms"] * 1000),
        "state": lambda row: "" if row["state"] is None else json.dumps(row["state"], ensure_ascii=False),
    }
    write_rows(rows, columns, choose_output(output), empty=f"{name} has no committed steps from {first} on.")
    _say_more(rows, limit)


@click.command()
@_asking
@_paged
def attempts(*, target: str | None, run_id: str | None, db: str, output: Output | None, first: int, limit: int) -> None:
    """Show every try of every step, failed ones too."""
    from loom_runner._views import attempt_views  # noqa: PLC0415

    with _reading(db, target, run_id, "show the attempts of") as (store, name):
        rows = attempt_views(store, cast("RunRecord", store.get_run(name)), first=first, limit=limit)
    columns: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "step": lambda row: str(row["step_index"]),
        "try": lambda row: str(row["attempt"] + 1),
        "outcome": lambda row: styled_status(row["outcome"]),
        "at": lambda row: _local(row["started_at"]),
        "took": lambda row: "" if row["duration_ms"] is None else duration(row["duration_ms"] * 1000),
        "error": lambda row: f"{row['error']['type']}: {row['error']['message']}" if row["error"] else "",
    }
    write_rows(rows, columns, choose_output(output), empty=f"{name} has no attempts from step {first} on.")
    _say_more(rows, limit)


def _call_text(row: Mapping[str, Any]) -> str:
    text = shorten(json.dumps(row["arguments"], ensure_ascii=False), 60)
    if row["status"] == "done":
        return f"{text} -> {json.dumps(row['result'], ensure_ascii=False)}"
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
@_asking
def tool_calls(target: str | None, run_id: str | None, db: str, output: Output | None) -> None:
    """Show the tool ledger of a run."""
    from loom_runner._doubt import read_tool_calls  # noqa: PLC0415
    from loom_runner._views import tool_view  # noqa: PLC0415

    with _reading(db, target, run_id, "show the tool calls of") as (store, name):
        rows = [tool_view(call) for call in read_tool_calls(store, name)]
    write_rows(rows, _CALLS, choose_output(output), empty=f"{name} has called no tools.")


@click.command()
@click.argument("target", required=False, metavar="[RUN]")
@click.option("--run-id", help="Only this run's.")
@db_option
@output_option
def doubts(target: str | None, run_id: str | None, db: str, output: Output | None) -> None:
    """Show the tool calls that started and have no recorded end."""
    from loom_runner._doubt import read_tool_calls  # noqa: PLC0415
    from loom_runner._views import tool_view  # noqa: PLC0415

    name = run_id or target
    with _opened(db, "show doubts") as store:
        if name is not None:
            _require_run(store, name, "show the doubts of")
        rows = [tool_view(call) for call in read_tool_calls(store, name, in_doubt=True)]
    columns = {head: _CALLS[head] for head in ("call", "step", "tool", "tries")} | {
        "since": lambda row: _local(row["started_at"]),
        "arguments": lambda row: json.dumps(row["arguments"], ensure_ascii=False),
    }
    mode = choose_output(output)
    write_rows(rows, columns, mode, empty="Nothing is in doubt.")
    if rows and mode == "text":
        write_error(f"decide: loom-runner resolve '{rows[0]['id']}' --retry | --skip | --result JSON{db_suffix(db)}")


# ---------------------------------------------------------------------- answering


@click.command()
@click.argument("call", metavar="RUN#CALL")
@click.option("--retry", is_flag=True, help="Run the tool once more, with the same idempotency key.")
@click.option("--skip", is_flag=True, help="Let the call fail; the step sees a ToolFailed with the category skipped.")
@click.option("--result", help="It did happen: record this JSON as its payload.")
@click.option("--by", default=None, help="Who decides; the user's name when not said.")
@db_option
def resolve(*, call: str, retry: bool, skip: bool, result: str | None, by: str | None, db: str) -> None:
    """Decide about a tool call in doubt; `resume` then goes on."""
    from loom_runner._runner import resolve_call  # noqa: PLC0415

    run_id, hash_sign, number = call.rpartition("#")
    if not hash_sign or not number.isdecimal():
        raise UsageError(f"cannot resolve {call!r}: it is not RUN#CALL, as loom-runner doubts prints it.")
    if retry + skip + (result is not None) != 1:
        raise UsageError(f"cannot resolve {call}: choose one of --retry, --skip and --result JSON.")
    value = None if result is None else _json_of(result, "--result")
    require_database(db, run_id, "resolve a call of")
    how: Literal["retry", "skip", "result"] = "retry" if retry else "skip" if skip else "result"
    who = by or getpass.getuser()
    with _opened(db, "resolve", read_only=False) as store:
        run_async(resolve_call(store, run_id, int(number), how, result=value, decided_by=who))
    write_error(f"decided. go on: loom-runner resume MODULE --run-id {shlex.quote(run_id)}{db_suffix(db)}")


@click.command("signal")
@click.argument("name")
@click.option("--run-id", required=True, help="The run.")
@click.option("--payload", help="What the signal carries, as JSON.")
@db_option
def signal_command(name: str, run_id: str, payload: str | None, db: str) -> None:
    """Leave a signal for a run; `resume` then goes on."""
    from loom_runner._runner import send_signal  # noqa: PLC0415

    value = None if payload is None else _json_of(payload, "--payload")
    require_database(db, run_id, "signal")
    with _opened(db, "signal", read_only=False) as store:
        run_async(send_signal(store, run_id, name, value))
    write_error(f"left for {run_id}. go on: loom-runner resume MODULE --run-id {shlex.quote(run_id)}{db_suffix(db)}")


@click.command("trace")
@_asking
@click.option("--html", "html", required=True, type=click.Path(), help="The page to write.")
def trace_command(target: str | None, run_id: str | None, db: str, output: Output | None, html: str) -> None:
    """Write a run's page (HTML) from its rows.

    It shows every process that ever worked on the run, crashes included, and needs no network.
    """
    from loom_runner._observer import write_trace  # noqa: PLC0415

    with _reading(db, target, run_id, "trace") as (store, name):
        write_trace(store, name, html)
    mode = choose_output(output)
    if mode == "text":
        write_line(f"{html}  open it in a browser; it needs no network")
    else:
        write_json({"run_id": name, "html": html}, mode)


# ---------------------------------------------------------------------- small parts


@contextlib.contextmanager
def _opened(db: str, verb: str, *, read_only: bool = True) -> Iterator[SQLiteStore]:
    from loom_runner._sqlite import SQLiteStore  # noqa: PLC0415  (kept out of `--help`)

    if not Path(db).exists():
        raise UnknownRun(f"cannot {verb}: there is no database {db}. Name it with --db.")
    with SQLiteStore(db, read_only=read_only) as store:
        yield store


@contextlib.contextmanager
def _reading(db: str, target: str | None, run_id: str | None, verb: str) -> Iterator[tuple[SQLiteStore, str]]:
    """Open the database for one run's rows; without --run-id the argument is the run."""
    name = run_id or target
    if name is None:
        raise UsageError(f"cannot {verb} a run: say which, with --run-id ID.")
    with _opened(db, f"{verb} {name!r}") as store:
        _require_run(store, name, verb)
        yield store, name


def _require_run(store: SQLiteStore, run_id: str, verb: str) -> None:
    from loom_runner._driver import unknown_run  # noqa: PLC0415

    if store.get_run(run_id) is None:
        raise unknown_run(store, run_id, verb)


def require_database(db: str, run_id: str, verb: str) -> None:
    """Refuse to make a new database for a run that cannot be in it."""
    if not Path(db).exists():
        raise UnknownRun(f"cannot {verb} {run_id!r}: there is no database {db}. Name it with --db.", run_id=run_id)


def _say_more(rows: list[dict[str, Any]], limit: int) -> None:
    if len(rows) >= limit:
        write_error(f"more may follow: --first {rows[-1]['step_index'] + 1}")


def _json_of(text: str, option: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as exc:
        raise UsageError(f"cannot read {option}: {text!r} is not JSON ({exc}).") from exc


def db_suffix(db: str) -> str:
    return "" if db == DEFAULT_DB else f" --db {shlex.quote(db)}"


def _local(at: str | None) -> str:
    from datetime import datetime  # noqa: PLC0415

    return "" if at is None else f"{datetime.fromisoformat(at).astimezone():%Y-%m-%d %H:%M:%S}"


ROW_COMMANDS = (
    explain_command,
    list_command,
    get,
    history,
    attempts,
    tool_calls,
    doubts,
    resolve,
    signal_command,
    trace_command,
)
