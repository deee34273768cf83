"""The commands with which a person (or a script) answers a run: they write one row, and `resume` goes on from there."""

from __future__ import annotations

import getpass
from typing import Literal

import click

from loom_runner._cli_open import (
    by_option,
    checked_run_id,
    db_option,
    go_on_hint,
    json_of,
    opened,
    reading,
    require_database,
)
from loom_runner._errors import UsageError
from loom_runner.cli_base import run_async, shorten, write_error

__all__ = ["ANSWERING_COMMANDS"]


@click.command()
@click.argument("call", metavar="RUN#CALL")
@click.option("--retry", is_flag=True, help="Run the tool once more, with the same idempotency key.")
@click.option("--skip", is_flag=True, help="Let the call fail; the step sees a ToolFailed with the category skipped.")
@click.option("--result", help="It did happen: record this JSON as its payload.")
@by_option
@db_option
def resolve(*, call: str, retry: bool, skip: bool, result: str | None, by: str | None, db: str) -> None:
    """Decide about a tool call in doubt; `resume` then goes on."""
    from loom_runner._runner import resolve_call  # noqa: PLC0415

    run_id, number = call_of(call, "resolve", "loom-runner doubts")
    if retry + skip + (result is not None) != 1:
        raise UsageError(f"cannot resolve {call}: choose one of --retry, --skip and --result JSON.")
    value = None if result is None else json_of(result, "--result")
    require_database(db, run_id, "resolve a call of")
    how: Literal["retry", "skip", "result"] = "retry" if retry else "skip" if skip else "result"
    who = by or user_name()
    with opened(db, "resolve", read_only=False) as store:
        run_async(resolve_call(store, run_id, number, how, result=value, decided_by=who))
        hint = go_on_hint(store, run_id, db)
    write_error(f"decided. go on: {hint}")


@click.command("signal")
@click.argument("name")
@click.argument("run", required=False)
@click.option("--run-id", metavar="RUN", help="The run, when it is not the last argument.")
@click.option("--payload", help="What the signal carries, as JSON.")
@db_option
def signal_command(*, name: str, run: str | None, run_id: str | None, payload: str | None, db: str) -> None:
    """Leave a signal NAME for a run; `resume` then goes on."""
    from loom_runner._runner import send_signal  # noqa: PLC0415

    if (run is None) == (run_id is None):
        raise UsageError(f"cannot signal {shorten(name, 40)!r}: say which run, with --run-id RUN.")
    target = checked_run_id(run_id or run or "", "signal")
    value = None if payload is None else json_of(payload, "--payload")
    require_database(db, target, "signal")
    with reading(db, target, "signal", read_only=False) as store:
        run_async(send_signal(store, target, name, value))
        hint = go_on_hint(store, target, db)
    write_error(f"left for {target}. go on: {hint}")


def call_of(text: str, verb: str, source: str) -> tuple[str, int]:
    """Read RUN#NUMBER."""
    run_id, hash_sign, number = text.rpartition("#")
    if not hash_sign or not number.isdecimal() or not number.isascii() or len(number) > 18:
        raise UsageError(f"cannot {verb} {shorten(text, 60)!r}: it is not RUN#NUMBER, as {source} prints it.")
    return checked_run_id(run_id, verb), int(number)


def user_name() -> str:
    """Who sits at the keyboard, as far as the system knows."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container with a uid that has no name
        return "unknown"


ANSWERING_COMMANDS: tuple[click.Command, ...] = (resolve, signal_command)
