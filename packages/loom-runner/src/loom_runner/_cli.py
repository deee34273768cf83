"""The `loom-runner` command. Each function reads options, asks the library, and prints; nothing is decided here."""

from __future__ import annotations

import contextlib
import getpass
import json
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import click

from loom_runner._errors import UnknownRun, UsageError
from loom_runner.cli_base import (
    Output,
    choose_output,
    duration,
    exit_code_of_status,
    output_option,
    plural,
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

    from loom_runner._driver import RunResult
    from loom_runner._events import RunEvent
    from loom_runner._load import AgentModule
    from loom_runner._records import RunRecord
    from loom_runner._runner import AgentRunner
    from loom_runner._sqlite import SQLiteStore
    from loom_runner._sqlite_file import Durability

__all__ = ["main_group"]

DEFAULT_DB = "runs.sqlite"

db_option = click.option("--db", default=DEFAULT_DB, show_default=True, help="The database file.")


@click.group(name="loom-runner", context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="loom-runner", prog_name="loom-runner")
def main_group() -> None:
    """Run Python agents step by step, each step committed to SQLite; kill them, resume them, and ask what happened.

    MODULE is a file or an importable name with build_runner(db_path) or step(state, ctx); MODULE:NAME names a step
    function or a @tailrec loop. A pipe gets JSON.
    """


# ---------------------------------------------------------------------- running


def _driving(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that `run` and `resume` share."""
    for option in (
        output_option,
        click.option("--trace", type=click.Path(), help="Write the run's page (HTML) here at the end."),
        click.option(
            "--durability",
            type=click.Choice(["power", "process", "memory"]),
            help="What a committed step survives; power when not said.",
        ),
        click.option("--max-steps", type=click.IntRange(min=1), help="Pause after so many steps."),
        db_option,
        click.option("--run-id", required=True, help="The run's name."),
        click.argument("module"),
    ):
        command = option(command)
    return command


@main_group.command()
@_driving
@click.option("--input", "typed", help="Where the run begins, as JSON; initial_state() of the module when not said.")
def run(
    *,
    module: str,
    run_id: str,
    db: str,
    max_steps: int | None,
    durability: Durability | None,
    trace: str | None,
    output: Output | None,
    typed: str | None,
) -> int:
    """Start a run, or attach to it when it exists.

    A run of the same name that began with the same input is gone on with, or given back as stored.
    """

    def work(runner: AgentRunner, loaded: AgentModule) -> Any:
        initial = loaded.initial(runner, typed)
        return runner.start(run_id=run_id, initial_state=initial, max_steps=max_steps)

    return _drive(work, module, run_id, db, durability, trace, choose_output(output))


@main_group.command()
@_driving
def resume(
    *,
    module: str,
    run_id: str,
    db: str,
    max_steps: int | None,
    durability: Durability | None,
    trace: str | None,
    output: Output | None,
) -> int:
    """Go on with a run where it stands."""
    _existing(db, run_id, "resume")

    def work(runner: AgentRunner, _: AgentModule) -> Any:
        record = runner.store.get_run(run_id)
        ours = runner.program.name
        if record is not None and record.program != ours:  # its state would be taken for one of ours
            raise UsageError(
                f"cannot resume {run_id!r}: it is a run of {record.program!r}, and {module} has {ours!r}. Name the "
                f"module of {record.program!r}.",
                run_id=run_id,
            )
        return runner.resume(run_id=run_id, max_steps=max_steps)

    return _drive(work, module, run_id, db, durability, trace, choose_output(output))


def _drive(  # noqa: PLR0917  (one call from each of two commands)
    work: Callable[[AgentRunner, AgentModule], Any],
    module: str,
    run_id: str,
    db: str,
    durability: Durability | None,
    trace: str | None,
    output: Output,
) -> int:
    from loom_runner._load import load_module  # noqa: PLC0415  (kept out of `--help`)
    from loom_runner._views import run_view  # noqa: PLC0415

    loaded = load_module(module)
    runner = loaded.runner(db, durability)
    go_on = f"loom-runner resume {module} --run-id {shlex.quote(run_id)}{_db_option(db)}"
    with contextlib.ExitStack() as stack:
        stack.callback(runner.close)
        if trace is not None:
            stack.enter_context(runner.tracing(run_id, trace))
        with contextlib.ExitStack() as shown:
            if output == "jsonl":
                shown.callback(runner.observe(_print_event))
            elif sys.stderr is not None and sys.stderr.isatty():
                shown.enter_context(_progress(runner))
            result: RunResult = run_async(_awaited(work, runner, loaded), hint=f"Go on: {go_on}")
        view = run_view(cast("RunRecord", runner.store.get_run(run_id)))
        _print_result(result, view, output, go_on, db)  # before the trace is written: that may fail, the run is done
    if trace is not None:
        write_error(f"trace: {trace}")
    return exit_code_of_status(result.status)


async def _awaited(
    work: Callable[[AgentRunner, AgentModule], Any], runner: AgentRunner, loaded: AgentModule
) -> RunResult:
    result: RunResult = await work(runner, loaded)
    return result


def _print_event(event: RunEvent) -> None:
    from loom_runner._clock import to_iso  # noqa: PLC0415

    line = {"kind": event.kind, "run_id": event.run_id, "step_index": event.step_index, "attempt": event.attempt}
    write_json(line | {"at": to_iso(event.at_us)} | dict(event.data), "jsonl")


@contextlib.contextmanager
def _progress(runner: AgentRunner) -> Iterator[None]:
    """Show how a long run is doing, on one line of the terminal that is gone at the end."""
    began = shown = time.monotonic()
    steps = 0

    def show(event: RunEvent) -> None:
        nonlocal shown, steps
        if event.kind != "step_committed":
            return
        steps += 1
        now = time.monotonic()
        if now - began > 1 and now - shown > 0.2:
            shown = now
            sys.stderr.write(f"\r{event.run_id}  step {event.step_index:,}  {steps / (now - began):,.0f} steps/s\033[K")
            sys.stderr.flush()

    stop = runner.observe(show)
    try:
        yield
    finally:
        stop()
        if shown != began:
            sys.stderr.write("\r\033[K")


def _print_result(result: RunResult, view: Mapping[str, Any], output: Output, go_on: str, db: str) -> None:
    run_id = result.run_id
    if result.was_stored:
        write_error(f"{run_id} {result.status} before; this is what is stored.")
    if output != "text":
        kind = {"kind": "result"} if output == "jsonl" else {}
        write_json(kind | dict(view) | {"was_stored": result.was_stored}, output)
        return
    head = click.style(run_id, bold=True)
    write_line(f"{head}  {styled_status(result.status)}  {plural(result.step_index, 'step')}")
    if result.status == "completed":
        write_line(f"  result  {json.dumps(view['result'], ensure_ascii=False)}")
        write_error(f"what happened: loom-runner explain --run-id {shlex.quote(run_id)}{_db_option(db)}")
        return
    write_line(f"  state  {json.dumps(view['state'], ensure_ascii=False)}")
    if result.error is not None:
        write_line(f"  error  {result.error}")
    if result.status == "waiting" and result.wait is not None:
        _print_wait(result.wait, run_id, db)
    write_error(f"go on: {go_on}")


def _print_wait(wait: Mapping[str, Any], run_id: str, db: str) -> None:
    if "doubt" in wait:
        call = f"{run_id}#{wait['doubt']}"
        write_line(f"  waits  for a word about {call}: it was interrupted and nobody knows whether it happened")
        write_error(f"decide: loom-runner resolve '{call}' --retry | --skip | --result JSON{_db_option(db)}")
    else:
        until = f" until {wait['until']}" if wait.get("until") else ""
        write_line(f"  waits  for signal {wait['signal']!r}{until}")
        write_error(
            f"signal: loom-runner signal {wait['signal']} --run-id {shlex.quote(run_id)} --payload JSON{_db_option(db)}"
        )


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


@main_group.command("explain")
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


@main_group.command("list")
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


@main_group.command()
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


@main_group.command()
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


@main_group.command()
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


@main_group.command("tool-calls")
@_asking
def tool_calls(target: str | None, run_id: str | None, db: str, output: Output | None) -> None:
    """Show the tool ledger of a run."""
    from loom_runner._doubt import read_tool_calls  # noqa: PLC0415
    from loom_runner._views import tool_view  # noqa: PLC0415

    with _reading(db, target, run_id, "show the tool calls of") as (store, name):
        rows = [tool_view(call) for call in read_tool_calls(store, name)]
    write_rows(rows, _CALLS, choose_output(output), empty=f"{name} has called no tools.")


@main_group.command()
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
        write_error(f"decide: loom-runner resolve '{rows[0]['id']}' --retry | --skip | --result JSON{_db_option(db)}")


# ---------------------------------------------------------------------- answering


@main_group.command()
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
    _existing(db, run_id, "resolve a call of")
    how: Literal["retry", "skip", "result"] = "retry" if retry else "skip" if skip else "result"
    who = by or getpass.getuser()
    with _opened(db, "resolve", read_only=False) as store:
        run_async(resolve_call(store, run_id, int(number), how, result=value, decided_by=who))
    write_error(f"decided. go on: loom-runner resume MODULE --run-id {shlex.quote(run_id)}{_db_option(db)}")


@main_group.command("signal")
@click.argument("name")
@click.option("--run-id", required=True, help="The run.")
@click.option("--payload", help="What the signal carries, as JSON.")
@db_option
def signal_command(name: str, run_id: str, payload: str | None, db: str) -> None:
    """Leave a signal for a run; `resume` then goes on."""
    from loom_runner._runner import send_signal  # noqa: PLC0415

    value = None if payload is None else _json_of(payload, "--payload")
    _existing(db, run_id, "signal")
    with _opened(db, "signal", read_only=False) as store:
        run_async(send_signal(store, run_id, name, value))
    write_error(f"left for {run_id}. go on: loom-runner resume MODULE --run-id {shlex.quote(run_id)}{_db_option(db)}")


@main_group.command("trace")
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


def _existing(db: str, run_id: str, verb: str) -> None:
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


def _db_option(db: str) -> str:
    return "" if db == DEFAULT_DB else f" --db {shlex.quote(db)}"


def _local(at: str | None) -> str:
    from datetime import datetime  # noqa: PLC0415

    return "" if at is None else f"{datetime.fromisoformat(at).astimezone():%Y-%m-%d %H:%M:%S}"
