"""Run one command of a gate and judge it: bounded in time and memory, no process left."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from loom_agents.process import Ended, Limits, can_leave_network, run_process
from loom_agents.redaction import shown_line, shown_text

from rule_based_verifier.gates.detection import Runner, find_program
from rule_based_verifier.gates.report_readers import READERS
from rule_based_verifier.gates.verdicts import Counts, Evidence, Failure, Judgement
from rule_based_verifier.settings import Settings

__all__ = ["Progress", "not_run", "run_command"]

Progress: TypeAlias = Callable[[float, str], Awaitable[None]]
"""Gets seconds since the start, and what to show."""

MAX_OUTPUT_BYTES: Final = 24_000
_MAX_LINE_BYTES: Final = 20_000
_MEMORY_BYTES: Final = 4_000_000_000
_EVERY_S: Final = 1.0
_ENVIRONMENT: Final = {
    "PYTHONDONTWRITEBYTECODE": "1",
    "NO_COLOR": "1",
    "CARGO_TERM_COLOR": "never",
    "CI": "1",  # test runners for JavaScript would watch the files instead of ending
    "npm_config_update_notifier": "false",
    "GOTOOLCHAIN": "local",
}
_OFFLINE: Final = {"CARGO_NET_OFFLINE": "true", "GOPROXY": "off", "npm_config_offline": "true"}


def not_run(runner: Runner, argv: Sequence[str], reason: str, next_step: str) -> Evidence:
    """Return the evidence about a command that was not run."""
    return Evidence(
        runner.kind, list(argv), "cannot_tell", reason, next_step, None, Counts(), [], 0, "", 0, False, False, False, 0
    )


async def run_command(
    settings: Settings, runner: Runner, extra: Sequence[str], progress: Progress | None = None
) -> Evidence:
    """Run a command of a gate to its end, its time limit, or the cancellation of this task.

    Args:
        settings: Root and limits.
        runner: What to run.
        extra: Checked arguments of the client.
        progress: Called about once a second.
    """
    program = find_program(settings.root, runner.argv[0])
    if program is None:
        argv = (*runner.argv, *extra)
        step = f"Install {runner.argv[0]!r}, or name another command with --test-cmd or --lint-cmd."
        return not_run(runner, argv, f"{runner.argv[0]} is not installed", step)
    with tempfile.TemporaryDirectory(prefix="verifier-") as scratch:
        reader = READERS[runner.kind](Path(scratch))
        has_target = any(not word.startswith("-") for word in extra[-1:])
        target = () if has_target else runner.default_target
        before = runner.before if extra else ()
        argv = (*runner.argv, *reader.arguments(), *before, *extra, *target, *runner.after)
        lines = _Lines(reader.feed)
        is_online = settings.network or not can_leave_network()
        async with _reporting(progress, lines, settings.timeout_s):
            ended = await run_process(
                (program, *argv[1:]),
                folder=settings.root,
                timeout_s=settings.timeout_s,
                max_output_bytes=MAX_OUTPUT_BYTES,
                environment=_ENVIRONMENT | ({} if settings.network else _OFFLINE),
                limits=Limits(cpu_s=max(60, 4 * int(settings.timeout_s)), memory_bytes=_MEMORY_BYTES),
                network=settings.network,
                on_output=lines.feed,
            )
        lines.end()
        judgement = await asyncio.to_thread(_judge, ended, reader.judge, settings.timeout_s)
    shown = [word.replace(scratch, "TEMPORARY_FOLDER") for word in argv]
    return _evidence(runner.kind, shown, ended, judgement, is_online=is_online)


def _judge(ended: Ended, judge: Callable[[int], Judgement], timeout_s: float) -> Judgement:
    if ended.timed_out or ended.exit_code is None:
        step = "Select fewer checks in extra_args, or raise --timeout-s."
        return Judgement("cannot_tell", f"it was stopped after {timeout_s:g} s, before it ended", step)
    if ended.launcher_killed:
        return Judgement("cannot_tell", "it killed the process that started it", _READ)
    if ended.exit_code < 0:
        reason = f"it was ended by signal {-ended.exit_code}"
        return Judgement("cannot_tell", reason, f"{_READ} A limit on memory, file size or time may be the cause.")
    if ended.exit_code == 127 and ended.output.startswith(b"cannot start "):
        return Judgement("cannot_tell", "the program cannot be started", _READ)
    return judge(ended.exit_code)


def _evidence(kind: str, argv: list[str], ended: Ended, judgement: Judgement, *, is_online: bool) -> Evidence:
    failures = [
        Failure(shown_line(each.name), shown_line(each.file), each.line, shown_line(each.message))
        for each in judgement.failures
    ]
    return Evidence(
        kind,
        [shown_line(word) for word in argv],
        judgement.verdict,
        judgement.reason,
        judgement.next_step,
        None if ended.timed_out else ended.exit_code,
        judgement.counts,
        failures,
        judgement.failures_total,
        shown_text(ended.output.decode("utf-8", "replace")),
        ended.output_bytes,
        ended.is_truncated,
        ended.timed_out,
        is_online,
        ended.duration_ms,
    )


_READ: Final = "Read output_tail."


class _Lines:
    """Split pieces of output into lines; of a long line only the beginning is kept."""

    def __init__(self, take: Callable[[str], None]) -> None:
        self._take = take
        self._open = bytearray()
        self.number = 0

    def feed(self, piece: bytes) -> None:
        """Pass the complete lines on."""
        start = 0
        while (end := piece.find(b"\n", start)) >= 0:
            self._add(piece[start:end])
            self.number += 1
            self._take(self._open.decode("utf-8", "replace").rstrip("\r"))
            self._open.clear()
            start = end + 1
        self._add(piece[start:])

    def end(self) -> None:
        """Pass on a last line without a line feed."""
        if self._open:
            self.feed(b"\n")

    def _add(self, part: bytes) -> None:
        self._open += part[: _MAX_LINE_BYTES - len(self._open)]


@contextlib.asynccontextmanager
async def _reporting(progress: Progress | None, lines: _Lines, timeout_s: float) -> AsyncIterator[None]:
    if progress is None:
        yield
        return
    started = time.monotonic()

    async def report() -> None:
        with contextlib.suppress(Exception):  # a client that has gone must not change the verdict
            while True:
                seconds = time.monotonic() - started
                await progress(min(seconds, timeout_s), f"{seconds:.0f} s, {lines.number} lines of output")
                await asyncio.sleep(_EVERY_S)

    task = asyncio.create_task(report())
    try:
        yield
    finally:
        task.cancel()
