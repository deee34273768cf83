"""The commands that drive runs: `run`, `resume` and `worker`."""

from __future__ import annotations

import contextlib
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loom_runner._cli.base import Amount, Count, Interrupted, exit_code_of_status, grace_s, run_async
from loom_runner._cli.options import (
    db_option,
    db_suffix,
    json_text,
    open_database,
    parse_run,
    require_database,
    run_arguments,
    run_arguments_as,
)
from loom_runner._cli.output import (
    Output,
    choose_output,
    output_option,
    styled,
    styled_status,
    user_output_to_stderr,
    write_error,
    write_json,
    write_line,
)
from loom_runner._cli.trust import remember_database
from loom_runner._model.formatting import one_line, plural, shorten
from loom_runner._store.address import database_exists
from loom_runner._store.lookup import read_run
from loom_runner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from loom_runner._cli.agent_module import AgentModule
    from loom_runner._engines.runner import AgentRunner
    from loom_runner._model.budget import Budget
    from loom_runner._model.events import RunEvent
    from loom_runner._model.results import RunResult
    from loom_runner._store.sqlite.file import Durability

__all__ = ["DRIVE_COMMANDS"]


def _drive_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that `run` and `resume` share."""
    for option in (
        output_option,
        click.option("--trace", type=click.Path(), help="Write the run's trace page (HTML) here at the end."),
        click.option(
            "--durability",
            type=click.Choice(["power", "process", "memory"]),
            help="What a committed step survives; by default power.",
        ),
        click.option("--budget", metavar="NAME=N,...", help="Limits: steps, tokens, cost_usd, time_s."),
        click.option(
            "--wait",
            "wait_s",
            metavar="SECONDS",
            type=Amount(min=0),
            default=0.0,
            help="How long to wait for signals, decisions and timers.",
        ),
        click.option("--max-steps", type=Count(min=1), help="Pause after this many steps."),
    ):
        command = option(command)
    return command


@click.command()
@run_arguments_as("MODULE RUN")
@_drive_options
@click.option(
    "--input",
    "typed",
    metavar="JSON",
    help="The initial state as JSON; by default initial_state() of the module.",
)
def run(
    *,
    names: tuple[str, ...],
    run_id: str | None,
    db: str,
    max_steps: int | None,
    wait_s: float,
    budget: str | None,
    durability: Durability | None,
    trace: str | None,
    output: Output | None,
    typed: str | None,
) -> int:
    """Start a run, or attach to it if it exists.

    A run of the same id and input is resumed; if it has ended, its stored result is printed.
    """
    if len(names) == 1 and run_id is None:
        raise UsageError(f"cannot run {shorten(names[0], 60)}: the run id is missing. Give --run-id RUN.")
    named = parse_run(names, run_id, "run", only_run=True)
    if named.module is None:
        raise UsageError(f"cannot run {named.run_id!r}: the module is missing. Give MODULE, for instance agent.py.")

    def work(runner: AgentRunner, loaded: AgentModule) -> Any:
        initial = loaded.initial(runner, typed)
        return runner.start(
            run_id=named.run_id, initial_state=initial, max_steps=max_steps, wait_s=wait_s, budget=limits
        )

    limits = _budget_of(budget)
    return _drive(work, named.module, named.run_id, db, durability, trace, choose_output(output))


@click.command()
@run_arguments
@_drive_options
def resume(
    *,
    names: tuple[str, ...],
    run_id: str | None,
    db: str,
    max_steps: int | None,
    wait_s: float,
    budget: str | None,
    durability: Durability | None,
    trace: str | None,
    output: Output | None,
) -> int:
    """Resume a run at its next step.

    MODULE is by default the one that drove the run last. A failed run tries its step again.
    """
    from loom_runner._model.products import product_of, resume_with_product
    from loom_runner._queries.hints import module_of

    if len(names) == 1 and run_id is None and Path(names[0]).suffix == ".py" and Path(names[0]).is_file():
        raise UsageError(f"cannot resume {names[0]}: the run id is missing. Give --run-id RUN.")
    named = parse_run(names, run_id, "resume")
    module = named.module
    if module is None:
        with open_database(db, f"resume {named.run_id!r}") as store:
            record = read_run(store.reader, named.run_id, "resume")
            module = record.module or module_of(store.reader, record)
        if module is None:
            product = product_of(record.program)
            what = "Give MODULE, the file or the module of that agent."
            if product is not None:
                what = f"Resume it with {product}: {resume_with_product(product, named.run_id, db)}"
            raise UsageError(
                f"cannot resume {named.run_id!r}: it is a run of {record.program!r}, and the database names no module "
                f"of it. {what}"
            )
        write_error(f"module: {module}, which drove the run last.")  # code that only the database names is executed
    require_database(db, named.run_id, "resume")

    def work(runner: AgentRunner, _: AgentModule) -> Any:
        return runner.resume(run_id=named.run_id, max_steps=max_steps, wait_s=wait_s, budget=limits)

    limits = _budget_of(budget)
    return _drive(work, module, named.run_id, db, durability, trace, choose_output(output))


@click.command()
@click.argument("module")
@db_option
@click.option("--concurrency", type=Count(min=1, max=1000), default=4, show_default=True, help="Runs at a time.")
@click.option("--until-idle", is_flag=True, help="End when no run can be resumed.")
@click.option(
    "--durability", type=click.Choice(["power", "process"]), help="What a committed step survives; by default power."
)
@output_option
def worker(
    *,
    module: str,
    db: str,
    concurrency: int,
    until_idle: bool,
    durability: Durability | None,
    output: Output | None,
) -> None:
    """Resume runs of MODULE whenever they are ready.

    These are new runs, children and forks, runs whose timer, signal or decision has come, and runs
    whose process disappeared. Any number of workers may share a database. After SIGTERM, current
    steps may end.
    """
    from loom_runner._cli.agent_module import load_module
    from loom_runner._driver.worker import Worker

    mode = choose_output(output)
    with contextlib.ExitStack() as stack:
        if mode != "text":
            stack.enter_context(user_output_to_stderr())
        runner = _open_runner(load_module(module), db, durability)
        stack.callback(runner.close)
        stack.callback(runner.observe(_print_event if mode != "text" else _print_end))

        one = Worker(runner, concurrency=concurrency, grace_s=grace_s())
        hint = "Start the worker again to resume the runs."
        count = run_async(one.run(until_idle=until_idle), hint=hint, on_sigterm=one.stop)
    write_error(f"resumed {plural(count, 'time')}." if count else "no run to resume.")


def _print_end(event: RunEvent) -> None:
    if event.kind == "run_ended":
        status = styled_status(str(event.data["status"]))
        write_line(f"{styled(event.run_id, bold=True)}  {status}  {plural(event.step_index, 'step')}")


def _drive(  # noqa: PLR0917  (one call from each of two commands)
    work: Callable[[AgentRunner, AgentModule], Any],
    module: str,
    run_id: str,
    db: str,
    durability: Durability | None,
    trace: str | None,
    output: Output,
) -> int:
    from loom_runner._cli.agent_module import load_module
    from loom_runner._queries.hints import decided_requests, next_commands, open_calls, waits_for
    from loom_runner._queries.views import run_view
    from loom_runner._store.lookup import read_run

    resume_command = f"loom-runner resume {shlex.quote(module)} --run-id {shlex.quote(run_id)}{db_suffix(db)}"
    was_drained = False
    folded: list[str] = []

    def drain() -> None:
        nonlocal was_drained
        was_drained = True
        runner.drain()

    with contextlib.ExitStack() as stack:
        if output != "text":
            stack.enter_context(user_output_to_stderr())
        loaded = load_module(module)
        runner = _open_runner(loaded, db, durability)
        stack.callback(runner.close)
        if trace is not None:
            from loom_runner._queries.tracing import tracing

            stack.enter_context(tracing(runner.observe, runner.store.reader, run_id, trace, on_folded=folded.append))
        with contextlib.ExitStack() as shown:
            if output == "jsonl":
                shown.callback(runner.observe(_print_event))
            elif sys.stderr is not None and sys.stderr.isatty():
                shown.enter_context(_progress(runner))
            result: RunResult = run_async(
                _awaited(work, runner, loaded), hint=f"Resume: {resume_command}", on_sigterm=drain
            )
        if was_drained and result.status == "paused":
            raise Interrupted(f"interrupted. Resume: {resume_command}")
        record = read_run(runner.store.reader, run_id, "get")
        doubts = open_calls(runner.store.reader, run_id)
        decided = decided_requests(runner.store.reader, record)
        after = next_commands(record, doubts, command="loom-runner", module=module, database=db, decided=decided)
        waits = waits_for(record, doubts, decided)
        # Printed before the trace is written, because writing may fail.
        _print_result(result, run_view(record), output, waits=waits, after=after, db=db)
    if trace is not None:
        write_error(f"trace: {trace}{''.join(f'  ({text})' for text in folded)}")
    return exit_code_of_status(result.status, result.error.category if result.error else None)


def _open_runner(loaded: AgentModule, db: str, durability: Durability | None) -> AgentRunner:
    """Open the database; one that this creates is recorded as the user's own."""
    from loom_runner._store.sqlite.store import SQLiteStore

    is_new = not database_exists(db)
    runner = loaded.runner(db, durability)
    if is_new and isinstance(runner.store, SQLiteStore):
        remember_database(runner.store)
    return runner


async def _awaited(
    work: Callable[[AgentRunner, AgentModule], Any], runner: AgentRunner, loaded: AgentModule
) -> RunResult:
    result: RunResult = await work(runner, loaded)
    return result


def _budget_of(text: str | None) -> Budget | None:
    """Read `steps=100,tokens=50000,cost_usd=1.5,time_s=60`."""
    if text is None:
        return None
    from loom_runner._model.budget import Budget

    limits: dict[str, Any] = {}
    for part in text.split(","):
        name, _, number = part.strip().partition("=")
        try:
            limits[name] = int(number) if name in ("steps", "tokens") else float(number)
        except ValueError:
            raise UsageError(f"cannot use --budget: {shorten(part, 40)!r} is not NAME=NUMBER.") from None
        if name not in ("steps", "tokens", "cost_usd", "time_s"):
            raise UsageError(f"cannot use --budget: {name!r} is not a limit. Limits: steps, tokens, cost_usd, time_s.")
    return Budget(**limits)


def _print_event(event: RunEvent) -> None:
    from loom_runner._model.clock import to_iso

    line = {"kind": event.kind, "run_id": event.run_id, "step_index": event.step_index, "attempt": event.attempt}
    write_json(line | {"at": to_iso(event.at_us)} | dict(event.data), "jsonl")


@contextlib.contextmanager
def _progress(runner: AgentRunner) -> Iterator[None]:
    """Show the progress of a long run on one line of the terminal, which is cleared at the end."""
    from flow_xray.terminal import visible_line

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
            sys.stderr.write(
                f"\r{visible_line(event.run_id)}  step {event.step_index:,}  {steps / (now - began):,.0f} steps/s\033[K"
            )
            sys.stderr.flush()

    stop = runner.observe(show)
    try:
        yield
    finally:
        stop()
        if shown != began:
            sys.stderr.write("\r\033[K")


def _print_result(
    result: RunResult,
    view: Mapping[str, Any],
    output: Output,
    *,
    waits: str | None,
    after: Mapping[str, str],
    db: str,
) -> None:
    if result.was_stored:
        verb = "was" if result.status == "cancelled" else "had"
        write_error(f"{result.run_id} {verb} {result.status} before; this is the stored result.")
    if output != "text":
        kind = {"kind": "result"} if output == "jsonl" else {}
        write_json(kind | dict(view) | {"was_stored": result.was_stored}, output)
        return
    head = styled(result.run_id, bold=True)
    write_line(f"{head}  {styled_status(result.status)}  {plural(result.step_index, 'step')}")
    if result.status == "completed":
        write_line(f"  result  {json_text(view['result'])}")
        write_error(f"explain: loom-runner explain --run-id {shlex.quote(result.run_id)}{db_suffix(db)}")
        return
    write_line(f"  state  {shorten(json_text(view['state']), 400)}")
    if result.error is not None:
        write_line(f"  error  {one_line(str(result.error))}")
    if waits is not None:
        write_line(f"  waits  for {waits}")
    for what, command in after.items():
        write_error(f"{what}: {command}")


DRIVE_COMMANDS: tuple[click.Command, ...] = (run, resume, worker)
