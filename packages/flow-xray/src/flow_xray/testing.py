"""Kill a recording process at random moments and check what its journal contains.

    python -m flow_xray.testing --number 200          # --seed 7 repeats a sweep

The child records nested calls, a growing chat, threads, generators and errors, and reports each
call that has ended over a pipe. It is killed with SIGKILL at a random moment. Then `flow-xray view`
must render its journal, every reported call must be in it with its output, and every span must have
its parent.
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

from flow_xray._data.span import Json
from flow_xray._record.trace import trace
from flow_xray._result import read_journal

__all__ = ["KillReport", "check_journal", "kill_once", "main"]

_LONGEST_S = 60


@dataclass(frozen=True, slots=True)
class KillReport:
    """The state of the journal of one killed process.

    Args:
        reported: Number of calls that the process had reported as ended.
        spans: Number of spans in the journal.
        interrupted: Number of spans without an end.
        damaged: Number of records that could not be read; more than one is a fault.
        faults: Descriptions of the errors; empty when there are none.
    """

    reported: int
    spans: int
    interrupted: int
    damaged: int
    faults: tuple[str, ...]


def kill_once(journal: Path, *, moment: float, view: Callable[[Sequence[str]], int] | None = None) -> KillReport:
    """Start the recording program, kill it, and check its journal.

    Args:
        journal: Its path; must not exist.
        moment: The time of the kill: the integer part is the number of calls to wait for, the rest
            a fraction of 5 ms.
        view: Runs `flow-xray` with arguments; by default the command, with its output discarded.
    """
    command = [sys.executable, "-m", "flow_xray.testing", "--record", str(journal)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: S603  this very module
        assert process.stdout is not None
        reported = bytearray()
        while reported.count(b"\n") <= int(moment):  # the first line reports that the journal is open
            reported += os.read(process.stdout.fileno(), 65_536) or _ended(process)
        if moment % 1:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=(moment % 1) * 0.005)
        process.send_signal(signal.SIGKILL)
        reported += process.stdout.read()
        process.wait(timeout=_LONGEST_S)
    numbers = [int(line) for line in bytes(reported).split(b"\n")[1:-1]]
    return check_journal(journal, numbers, view)


def check_journal(
    journal: Path, reported: Sequence[int], view: Callable[[Sequence[str]], int] | None = None
) -> KillReport:
    """Compare a journal with the calls that were reported as ended.

    Args:
        journal: The journal of a killed process.
        reported: The numbers of the calls that were reported as ended.
        view: As for `kill_once`.
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
    for number in reported:
        span = ended.get(number)
        if span is None:
            faults.append(f"call {number} had ended and is not in the journal")
        elif span.status == "ok" and span.output != {"number": number}:
            faults.append(f"call {number} has another output: {span.output!r}")
    ids = {span.id for span in result.spans}
    faults += [
        f"{span.name} has no parent in the journal"
        for span in result.spans
        if span.parent_id and span.parent_id not in ids
    ]
    faults += [f"{span.name} is open, and its process is dead" for span in result.spans if span.status == "open"]
    interrupted = sum(span.status == "interrupted" for span in result.spans)
    return KillReport(len(reported), len(result.spans), interrupted, damaged, tuple(faults))


def _ended(process: "subprocess.Popen[bytes]") -> bytes:
    raise RuntimeError(f"cannot kill the recording program: because it has ended with {process.wait()}.")


def _number_in(value: Json, key: str) -> int:
    found = value.get(key) if isinstance(value, dict) else None
    return found if type(found) is int else 0


# ---------------------------------------------------------------------- the recording program


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
    """Record until killed; report the number of each call that has ended."""
    from concurrent.futures import ThreadPoolExecutor
    from itertools import count

    def report(number: int) -> None:
        os.write(1, b"%d\n" % number)

    def one(number: int) -> None:
        with suppress(ValueError):
            _call(number)
        report(number)

    messages: list[dict[str, str]] = []
    with trace.capture(name="killed", journal=journal), ThreadPoolExecutor(2) as pool:
        report(0)
        for step in count():
            with trace.span(f"step {step}", kind="step", input={"step": step}):
                one(10 * step)
                messages.append({"role": "user", "content": f"{step} " + "word " * 200})
                _ask(10 * step + 1, messages[-30:])
                report(10 * step + 1)
                list(_items(3))  # type: ignore[call-overload]  # a generator; the decorator hides its type
                list(pool.map(one, range(10 * step + 2, 10 * step + 6)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill the recording program many times; return 1 when a journal has a fault."""
    parser = argparse.ArgumentParser(
        prog="python -m flow_xray.testing", description="Kill a recorder at random moments."
    )
    parser.add_argument("--number", type=int, default=200, metavar="N", help="number of kills (default: 200)")
    parser.add_argument(
        "--seed",
        type=int,
        default=random.SystemRandom().randrange(10_000),
        help="seed of the random moments, to repeat a sweep",
    )
    parser.add_argument("--record", metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.record:
        _record(options.record)
        return 0
    chance = random.Random(options.seed)  # noqa: S311  no secret
    reports: list[KillReport] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.number):
            moment = chance.choice((0, 1, 2, 5, 40, 200)) + chance.random()
            report = kill_once(Path(folder) / f"{number}.xray", moment=moment)
            reports.append(report)
            for fault in report.faults:
                sys.stdout.write(f"FAULT kill {number} (seed {options.seed}): {fault}\n")
    faulty = sum(bool(each.faults) for each in reports)
    reported, spans = sum(each.reported for each in reports), sum(each.spans for each in reports)
    cut, torn = sum(each.interrupted for each in reports), sum(each.damaged for each in reports)
    sys.stdout.write(
        f"{len(reports):,} kills (seed {options.seed}): {reported:,} ended calls reported, {spans:,} spans read, "
        f"{cut:,} interrupted, {torn:,} torn records; {faulty:,} journals with faults\n"
    )
    return 1 if faulty else 0


def _quiet(arguments: Sequence[str]) -> int:
    """Run `flow-xray` without its output."""
    import io

    from flow_xray._cli.main import main as command

    with redirect_stdout(io.StringIO()):
        return command(arguments)


if __name__ == "__main__":
    sys.exit(main())
