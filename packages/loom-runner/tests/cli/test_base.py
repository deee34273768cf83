import asyncio
import os
import signal
import typing

import click
import pytest
from loom_runner import RunBusy, RunnerError, StoreError, UnknownRun, cli_base
from loom_runner._model.statuses import Status
from loom_runner.cli_base import ExitCode
from loom_runner.errors import LeaseLost, StateError


def test_every_status_has_an_exit_code():
    codes = {status: cli_base.exit_code_of_status(status) for status in typing.get_args(Status)}
    assert codes == {
        "created": 0,
        "running": 0,
        "paused": 0,
        "completed": 0,
        "waiting": 3,
        "failed": 1,
        "parked": 1,
        "cancelled": 5,
    }


class Denied(RunnerError):
    exit_code = 5


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnknownRun("x"), 2),
        (click.UsageError("x"), 2),
        (RunBusy("x"), 7),
        (LeaseLost("x"), 7),
        (StoreError("x"), 8),
        (StateError("x"), 1),
        (Denied("x"), 5),
        (ValueError("x"), 1),
    ],
)
def test_every_error_has_an_exit_code(error, code):
    assert cli_base.exit_code_of_error(error) == code


@pytest.mark.parametrize(
    ("ends", "code", "said"),
    [
        (lambda: ExitCode.WAITING, 3, ""),
        (lambda: None, 0, ""),
        (lambda: (_ for _ in ()).throw(Denied("cannot do it:\n  because")), 5, "cannot do it: because\n"),
        (lambda: (_ for _ in ()).throw(cli_base.Interrupted("interrupted. Resume")), 130, "interrupted. Resume\n"),
        (lambda: (_ for _ in ()).throw(KeyboardInterrupt), 130, "\ninterrupted.\n"),
        (
            lambda: (_ for _ in ()).throw(KeyError("k")),
            1,
            "x: internal error: KeyError: 'k' (LOOM_DEBUG=1 shows where)\n",
        ),
        (lambda: (_ for _ in ()).throw(BrokenPipeError), 0, ""),
    ],
)
def test_a_command_ends_with_its_code_and_at_most_one_line(ends, code, said, capfd):
    with pytest.raises(SystemExit) as caught:
        cli_base.run_command(click.command()(ends), [], name="x")
    assert caught.value.code == code
    assert capfd.readouterr().err == said


def test_a_bug_shows_its_traceback_when_asked(monkeypatch):
    monkeypatch.setenv("LOOM_DEBUG", "1")
    with pytest.raises(KeyError):
        cli_base.run_command(click.command()(lambda: {}["k"]), [], name="x")


def test_sigterm_cancels_and_lets_the_work_clean_up():
    cleaned = []

    async def work():
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.sleep(60)
        finally:
            cleaned.append(True)

    with pytest.raises(cli_base.Interrupted, match="interrupted. Resume: x"):
        cli_base.run_async(work(), hint="Resume: x")
    assert cleaned == [True]


def test_a_table_fits_its_width_and_marks_what_it_cut(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    rows = [{"a": "x" * 10, "b": "y" * 80}, {"a": "z", "b": ""}]
    columns = {"a": lambda row: row["a"], "a long heading": lambda row: row["b"]}
    cli_base.write_rows(rows, columns, "text", empty="nothing")
    lines = click.unstyle(capsys.readouterr().out).splitlines()
    assert lines == ["a           a long heading", "xxxxxxxxxx  " + "y" * 25 + "...", "z"]
    cli_base.write_rows([], columns, "text", empty="nothing")
    assert capsys.readouterr().err == "nothing\n"
