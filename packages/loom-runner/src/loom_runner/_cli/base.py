"""The frame of every command: exit codes, one-line errors, Ctrl-C.

The exit codes, which are the same for all commands:

| code | meaning |
|---|---|
| 0 | done, or paused |
| 1 | failed |
| 2 | usage: unknown run, module or option |
| 3 | waiting: approval, signal, timer, a call in doubt |
| 4 | a limit was reached: tokens, cost, time, tool calls |
| 5 | denied |
| 6 | provider or authentication |
| 7 | the run is busy in another process, or was taken over by one |
| 8 | the store cannot be read or is too new |
| 130 | interrupted; the run can be resumed |
"""

from __future__ import annotations

import errno
import logging
import math
import os
import sys
import threading
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import click

from loom_runner._cli.output import discard_stdout, prepare_streams, take_write_error, write_error
from loom_runner._model.formatting import one_line, shorten
from loom_runner.errors import LeaseLost, RunBusy, RunnerError, StoreError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from loom_runner._queries.liveness import ShownStatus

__all__ = [
    "Amount",
    "Count",
    "ExitCode",
    "Interrupted",
    "exit_code_of_command",
    "exit_code_of_error",
    "exit_code_of_status",
    "grace_s",
    "run_async",
    "run_command",
]

T = TypeVar("T")


class ExitCode(IntEnum):
    """The exit codes of every command of the stack (the table is in this module's docstring)."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    WAITING = 3
    LIMIT = 4
    DENIED = 5
    PROVIDER = 6
    BUSY = 7
    STORE = 8
    INTERRUPTED = 130


_OF_STATUS: Final[dict[ShownStatus, ExitCode]] = {
    "created": ExitCode.DONE,
    "running": ExitCode.DONE,
    "interrupted": ExitCode.INTERRUPTED,
    "paused": ExitCode.DONE,
    "completed": ExitCode.DONE,
    "waiting": ExitCode.WAITING,
    "failed": ExitCode.FAILED,
    "parked": ExitCode.FAILED,
    "cancelled": ExitCode.DENIED,
}
_OF_CATEGORY: Final = {
    "limit": ExitCode.LIMIT,
    "denied": ExitCode.DENIED,
    "approval_expired": ExitCode.DENIED,
    "tampered": ExitCode.DENIED,
    "provider": ExitCode.PROVIDER,
    "auth": ExitCode.PROVIDER,
}
_OF_ERROR: Final[tuple[tuple[type[BaseException], ExitCode], ...]] = (
    (UsageError, ExitCode.USAGE),
    (RunBusy, ExitCode.BUSY),
    (LeaseLost, ExitCode.BUSY),
    (StoreError, ExitCode.STORE),
    (RunnerError, ExitCode.FAILED),
)


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM ended the command: control flow, like KeyboardInterrupt. The text says what
    to do next.
    """


def exit_code_of_status(status: ShownStatus, error_category: str | None = None) -> ExitCode:
    """Return the exit code of a command that leaves a run in this status.

    Args:
        error_category: The category of the run's error. Limits, denials and provider errors have
            their own codes.
    """
    if error_category is not None and status in ("failed", "paused"):
        return _OF_CATEGORY.get(error_category, _OF_STATUS[status])
    return _OF_STATUS[status]


def exit_code_of_error(error: BaseException) -> ExitCode:
    """Return the exit code of a command that ends with this error; its attribute `exit_code` takes
    precedence.
    """
    own = getattr(error, "exit_code", None)
    if isinstance(own, int) and not isinstance(error, click.ClickException):
        return ExitCode(own)
    if isinstance(error, click.UsageError):
        return ExitCode.USAGE
    return next((code for kind, code in _OF_ERROR if isinstance(error, kind)), ExitCode.FAILED)


# ---------------------------------------------------------------------- running


def run_async(work: Coroutine[Any, Any, T], *, hint: str = "", on_sigterm: Callable[[], None] | None = None) -> T:
    """Run a coroutine; Ctrl-C and SIGTERM cancel it, also if it blocks the event loop (see
    `interrupts`).

    Args:
        hint: What to do next after an interruption.
        on_sigterm: Called at the first SIGTERM, so that the work can end normally. It is cancelled
            after `LOOM_RUNNER_GRACE_S` seconds (by default 5).

    Raises:
        Interrupted: It was cancelled; the text contains `hint`.
    """
    import asyncio

    from loom_runner._cli.interrupts import can_watch, run_watched

    try:
        if not can_watch():
            return asyncio.run(work)
        return run_watched(work, on_sigterm=on_sigterm, grace_s=grace_s())
    except (KeyboardInterrupt, asyncio.CancelledError) as exc:
        raise Interrupted(f"interrupted. {hint}".strip()) from exc


def grace_s() -> float:
    """Return the seconds that work may take after SIGTERM (`LOOM_RUNNER_GRACE_S`, by default 5)."""
    try:
        return max(0.0, float(os.environ.get("LOOM_RUNNER_GRACE_S", "5")))
    except ValueError:
        return 5.0


_MAX_COUNT: Final = 10**15


class Count(click.IntRange):
    """A whole number as an option's type: `click.IntRange` with readable errors."""

    name = "n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse a number; the error names the allowed range."""
        try:
            number: int = super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(_range_error(value, "whole number", self.min, self.max), param, ctx)
        if abs(number) > _MAX_COUNT:  # below the largest integer of SQLite
            self.fail(_range_error(value, "whole number", self.min, _MAX_COUNT), param, ctx)
        return number


class Amount(click.FloatRange):
    """A number as an option's type: `click.FloatRange` with readable errors."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse a number; the error names the allowed range."""
        try:
            number: float = super().convert(value, param, ctx)
        except click.BadParameter:
            number = math.nan
        if not math.isfinite(number):
            self.fail(_range_error(value, "number", self.min, self.max), param, ctx)
        return number


def _range_error(value: Any, what: str, least: float | None, most: float | None) -> str:
    bounds = [f"from {least:,}" if least is not None else "", f"to {most:,}" if most is not None else ""]
    return f"{shorten(str(value), 40)!r} is not a {what} {' '.join(bounds).strip()}".rstrip() + "."


def run_command(command: click.Command, arguments: Sequence[str] | None = None, *, name: str) -> NoReturn:
    """Run a click command and exit with its code; an error is one line on stderr."""
    prepare_streams()
    code = exit_code_of_command(command, arguments, name)
    try:
        if sys.stdout is not None:  # it is None when the shell closed it
            sys.stdout.flush()
    except OSError as exc:
        discard_stdout(exc)
    if loss := take_write_error():
        write_error(f"cannot write the output: {loss.strerror}. Free some disk space, or redirect the output.")
        code = code or ExitCode.FAILED
    if code == ExitCode.INTERRUPTED and _other_threads():
        logging.shutdown()
        os._exit(code)  # Python would wait for them
    sys.exit(code)


def _other_threads() -> bool:
    """Return whether a thread is left that Python waits for before it ends, for instance one of
    `asyncio.to_thread` in a step that was interrupted.
    """
    main = threading.main_thread()
    return any(each is not main and not each.daemon and each.is_alive() for each in threading.enumerate())


def exit_code_of_command(command: click.Command, arguments: Sequence[str] | None, name: str) -> int:
    for number, argument in enumerate(sys.argv[1:] if arguments is None else arguments, start=1):
        if not argument.isascii() and argument != argument.encode("utf-8", "replace").decode():
            write_error(f"{name}: argument {number} is not UTF-8: {ascii(argument)[:60]}. Type it again.")
            return ExitCode.USAGE
    try:
        if os.environ.get("NO_COLOR"):
            result = command.main(arguments, name, standalone_mode=False, color=False)
        else:
            result = command.main(arguments, name, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as exc:
        write_error(exc.format_message())
        return ExitCode.USAGE
    except click.ClickException as exc:
        where = getattr(getattr(exc, "ctx", None), "command_path", name)
        write_error(f"{where}: {one_line(exc.format_message())} (see {where} --help)")
        return exit_code_of_error(exc) if isinstance(exc, click.UsageError) else exc.exit_code
    except (click.Abort, KeyboardInterrupt):
        write_error("interrupted.")
        return ExitCode.INTERRUPTED
    except Interrupted as exc:
        write_error(str(exc))
        return ExitCode.INTERRUPTED
    except RunnerError as exc:
        write_error(one_line(str(exc)))
        return exit_code_of_error(exc)
    except BrokenPipeError as exc:
        discard_stdout(exc)
        return ExitCode.DONE
    except Exception as exc:
        if isinstance(exc, OSError) and exc.errno == errno.ENOSPC and exc.filename is None:  # click's own help
            discard_stdout(exc)
            return ExitCode.FAILED
        if os.environ.get("LOOM_DEBUG"):
            raise
        text = one_line(str(exc))
        write_error(f"{name}: internal error: {type(exc).__name__}: {text} (LOOM_DEBUG=1 shows where)")
        return ExitCode.FAILED
    return result if isinstance(result, int) else ExitCode.DONE
