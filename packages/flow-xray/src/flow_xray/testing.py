"""Kill a recording process at random moments and look at what its journal says.

    python -m flow_xray.testing --number 200          # --seed 7 repeats a sweep

The child records nested calls, a growing chat, threads, generators and errors, and tells over a pipe about each call
when it has ended. It is killed with SIGKILL at a random moment. Then `flow-xray view` must render its journal, every
call that was told must be in it with its output, and every span must have its parent.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path

from flow_xray._journal_read import read_journal
from flow_xray._model import Json
from flow_xray._trace import trace

__all__ = ["KillReport", "judge", "kill_once", "main"]

_LONGEST_S = 60


@dataclass(frozen=True, slots=True)
class KillReport:
    """What one killed process left.

    Args:
        told: calls that had ended, by their number.
        spans: in the journal.
        interrupted: of them, without an end.
        damaged: records that could not be read; more than the one that was being written is a fault.
        faults: what is wrong, in words; empty when all is well.
    """

    told: int
    spans: int
    interrupted: int
    damaged: int
    faults: tuple[str, ...]


def kill_once(journal: Path, *, moment: float, view: Callable[[Sequence[str]], int] | None = None) -> KillReport:
    """Start the recording program, kill it, and judge its journal.

    Args:
        journal: where it goes; must not exist.
        moment: when to kill: the whole part is the number of calls to wait for, the rest a fraction of 5 ms more.
        view: runs `flow-xray` with arguments; the command itself, without its output, when not given.
    """
    command = [sys.executable, "-m", "flow_xray.testing", "--record", str(journal)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: S603  this very module
        assert process.stdout is not None
        told = bytearray()
        while told.count(b"\n") <= int(moment):  # the first line says that the journal is open
            told += os.read(process.stdout.fileno(), 65_536) or _ended(process)
        if moment % 1:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=(moment % 1) * 0.005)
        process.send_signal(signal.SIGKILL)
        told += process.stdout.read()
        process.wait(timeout=_LONGEST_S)
    numbers = [int(line) for line in bytes(told).split(b"\n")[1:-1]]
    return judge(journal, numbers, view)


def judge(journal: Path, told: Sequence[int], view: Callable[[Sequence[str]], int] | None = None) -> KillReport:
    """Compare a journal with the calls that were told to have ended.

    Args:
        journal: of a killed process.
        told: numbers of calls.
        view: as for `kill_once`.
    """
    faults: list[str] = []
    page = journal.with_suffix(".html")
    code = (view or _quiet)(["view", str(journal), "--html", str(page), "--format", "json"])
    if code != 0 or not page.exists():
        faults.append(f"flow-xray view ended with {code}")
    result = read_journal(journal)
    damaged = _number_in(result.meta.get("journal"), "damaged_records")
    if damaged > 1:
        faults.append(f"{damaged} records are damaged, and only the last one may be")
    ended = {
        span.input["number"]: span
        for span in result.spans
        if isinstance(span.input, dict) and "number" in span.input and span.status in ("ok", "error")
    }
    for number in told:
        span = ended.get(number)
        if span is None:
            faults.append(f"call {number} had ended and is not in the journal")
        elif span.status == "ok" and span.output != {"number": number}:
            faults.append(f"call {number} has another output: {span.output!r}")
    ids = {span.id for span in result.spans}
    faults += [
        f"{span.name} has lost its parent" for span in result.spans if span.parent_id and span.parent_id not in ids
    ]
    faults += [f"{span.name} is open, and its process is dead" for span in result.spans if span.status == "open"]
    interrupted = sum(span.status == "interrupted" for span in result.spans)
    return KillReport(len(told), len(result.spans), interrupted, damaged, tuple(faults))


def _ended(process: "subprocess.Popen[bytes]") -> bytes:
    raise RuntimeError(f"cannot kill the recording program: because it ended by itself with {process.wait()}.")


def _number_in(value: Json, key: str) -> int:
    found = value.get(key) if isinstance(value, dict) else None
    return found if type(found) is int else 0


# ---------------------------------------------------------------------- the program that is killed


@trace(kind="tool")
def _call(number: int) -> dict[str, int]:
    if number % 7 == 3:
        raise ValueError(f"call {number} fails")
    return {"number": number}


@trace(kind="llm")
def _ask(number: int, messages: list[dict[str, str]]) -> dict[str, int]:
    trace.meta(model="m", input_tokens=len(messages))
    trace.tag("asked", number=number)
    return {"number": number} if messages else {}


@trace
def _items(count: int) -> object:
    yield from range(count)


def _record(journal: str) -> None:
    """Record until somebody kills us; tell the number of each call that has ended."""
    from concurrent.futures import ThreadPoolExecutor
    from itertools import count

    def tell(number: int) -> None:
        os.write(1, b"%d\n" % number)

    def one(number: int) -> None:
        with suppress(ValueError):
            _call(number)
        tell(number)

    messages: list[dict[str, str]] = []
    with trace.capture(name="killed", journal=journal), ThreadPoolExecutor(2) as pool:
        tell(0)
        for step in count():
            with trace.span(f"step {step}", kind="step", input={"step": step}):
                one(10 * step)
                messages.append({"role": "user", "content": f"{step} " + "word " * 200})
                _ask(10 * step + 1, messages[-30:])
                tell(10 * step + 1)
                list(_items(3))  # type: ignore[call-overload]  # a generator, whatever the decorator says of it
                list(pool.map(one, range(10 * step + 2, 10 * step + 6)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill the recording program many times; return 1 when a journal was at fault."""
    parser = argparse.ArgumentParser(
        prog="python -m flow_xray.testing", description="Kill a recorder at random moments."
    )
    parser.add_argument("--number", type=int, default=200, metavar="N", help="how often (default: 200)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000), help="repeats a sweep")
    parser.add_argument("--record", metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.record:
        _record(options.record)
        return 0
    chance = random.Random(options.seed)  # noqa: S311  no secret
    reports: list[KillReport] = []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(options.number):
            moment = chance.choice((0, 1, 2, 5, 40, 200)) + chance.random()
            report = kill_once(Path(folder) / f"{turn}.xray", moment=moment)
            reports.append(report)
            for fault in report.faults:
                sys.stdout.write(f"FAULT kill {turn} (seed {options.seed}): {fault}\n")
    at_fault = sum(bool(report.faults) for report in reports)
    told, spans = sum(each.told for each in reports), sum(each.spans for each in reports)
    cut, torn = sum(each.interrupted for each in reports), sum(each.damaged for each in reports)
    sys.stdout.write(
        f"{len(reports):,} kills (seed {options.seed}): {told:,} ended calls told, {spans:,} spans read, "
        f"{cut:,} interrupted, {torn:,} torn records; {at_fault:,} journals at fault\n"
    )
    return 1 if at_fault else 0


def _quiet(arguments: Sequence[str]) -> int:
    """Run `flow-xray` without its output."""
    import io

    from flow_xray._cli import main as command

    with redirect_stdout(io.StringIO()):
        return command(arguments)


if __name__ == "__main__":
    sys.exit(main())
