"""The `loom-runner` command. Each function reads options, asks the library, and prints; nothing is decided here."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
import time
from typing import TYPE_CHECKING, Any, cast

import click

from loom_runner._cli_rows import ROW_COMMANDS, db_option, db_suffix, require_database
from loom_runner._errors import UsageError
from loom_runner.cli_base import (
    Output,
    choose_output,
    exit_code_of_status,
    output_option,
    plural,
    run_async,
    styled_status,
    write_error,
    write_json,
    write_line,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from loom_runner._driver import RunResult
    from loom_runner._events import RunEvent
    from loom_runner._load import AgentModule
    from loom_runner._records import RunRecord
    from loom_runner._runner import AgentRunner
    from loom_runner._sqlite_file import Durability

__all__ = ["main_group"]


@click.group(name="loom-runner", context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="loom-runner", prog_name="loom-runner")
def main_group() -> None:
    """Run Python agents step by step, each step committed to SQLite; kill them, resume them, and ask what happened.

    MODULE is a file or an importable name with build_runner(db_path) or step(state, ctx); MODULE:NAME names a step
    function or a @tailrec loop. A pipe gets JSON.
    """


for row_command in ROW_COMMANDS:
    main_group.add_command(row_command)


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
    require_database(db, run_id, "resume")

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
    go_on = f"loom-runner resume {module} --run-id {shlex.quote(run_id)}{db_suffix(db)}"
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
        write_error(f"what happened: loom-runner explain --run-id {shlex.quote(run_id)}{db_suffix(db)}")
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
        write_error(f"decide: loom-runner resolve '{call}' --retry | --skip | --result JSON{db_suffix(db)}")
    else:
        until = f" until {wait['until']}" if wait.get("until") else ""
        write_line(f"  waits  for signal {wait['signal']!r}{until}")
        write_error(
            f"signal: loom-runner signal {wait['signal']} --run-id {shlex.quote(run_id)} --payload JSON{db_suffix(db)}"
        )
