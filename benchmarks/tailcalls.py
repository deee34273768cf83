"""What a compiled tail call costs, beside the `while` loop a careful person writes by hand.

    python benchmarks/tailcalls.py                       the table, about ten seconds
    python benchmarks/tailcalls.py --n 100000 --samples 5
    python benchmarks/tailcalls.py --peer-python PATH    the same rows with the `loom` that another environment has
    python benchmarks/tailcalls.py --json

Every sample runs the hand-written loop and the compiled function one after the other, so that a
slow moment of the machine hits both; a row shows the median of the samples' ratios. Coroutines are
driven with `send`, so no event loop is in the measurement, and the process clock is read, so that
other programs are not. Exit code 1 when a bar is missed. See `benchmarks/README.md` for the peer.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gc
import json
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from loom import tailrec

if TYPE_CHECKING:
    from collections.abc import Callable

# ---------------------------------------------------------------- the pairs: by hand, compiled


@dataclasses.dataclass(frozen=True)
class State:
    """What an agent loop carries."""

    left: int
    total: int


async def dataclass_by_hand(state: State, step: int) -> State:
    while True:
        if state.left == 0:
            return state
        state = State(state.left - 1, state.total + step)


@tailrec
async def dataclass_compiled(state: State, step: int) -> State:
    if state.left == 0:
        return state
    return await dataclass_compiled(State(state.left - 1, state.total + step), step)


async def counter_by_hand(n: int, acc: int) -> int:
    while True:
        if n == 0:
            return acc
        n, acc = n - 1, acc + n


@tailrec
async def counter_compiled(n: int, acc: int) -> int:
    if n == 0:
        return acc
    return await counter_compiled(n - 1, acc + n)


async def sync_work(state: State) -> int:
    return state.left & 1


async def awaited_by_hand(state: State, step: int) -> State:
    while True:
        if state.left == 0:
            return state
        event = await sync_work(state)
        state = State(state.left - 1, state.total + event + step)


@tailrec
async def awaited_compiled(state: State, step: int) -> State:
    if state.left == 0:
        return state
    event = await sync_work(state)
    return await awaited_compiled(State(state.left - 1, state.total + event + step), step)


async def keywords_by_hand(n: int, acc: int = 0, *, step: int = 1, scale: int = 3) -> int:
    while True:
        if n <= 0:
            return acc
        n, acc, scale = n - step, acc + scale, 3


@tailrec
async def keywords_compiled(n: int, acc: int = 0, *, step: int = 1, scale: int = 3) -> int:
    if n <= 0:
        return acc
    return await keywords_compiled(acc=acc + scale, n=n - step, step=step)


async def positional_only_by_hand(n: int, acc: int = 0, /, step: int = 1) -> int:
    while True:
        if n <= 0:
            return acc
        n, acc, step = n - step, acc + step, 1


@tailrec
async def positional_only_compiled(n: int, acc: int = 0, /, step: int = 1) -> int:
    if n <= 0:
        return acc
    return await positional_only_compiled(n - step, acc + step)


async def spread_by_hand(n: int, *items: int, **options: int) -> int:
    while True:
        if n == 0:
            return len(items) + len(options)
        n, items, options = n - 1, (*items,), {**options}


@tailrec
async def spread_compiled(n: int, *items: int, **options: int) -> int:
    if n == 0:
        return len(items) + len(options)
    return await spread_compiled(n - 1, *items, **options)


async def mapping_by_hand(n: int, acc: int = 0, step: int = 1) -> int:
    while True:
        if n == 0:
            return acc
        bindings = {"acc": acc + step, "step": step}
        n, acc, step = n - 1, bindings["acc"], bindings["step"]


@tailrec
async def mapping_compiled(n: int, acc: int = 0, step: int = 1) -> int:
    if n == 0:
        return acc
    bindings = {"acc": acc + step, "step": step}
    return await mapping_compiled(n - 1, **bindings)


async def inner_loop_by_hand(n: int, acc: int) -> int:
    while True:
        again = False
        for i in (1, 2, 3):
            acc += i
            if i == 2 and n:
                n = n - 1
                again = True
                break
        if again:
            continue
        return acc


@tailrec
async def inner_loop_compiled(n: int, acc: int) -> int:
    for i in (1, 2, 3):
        acc += i
        if i == 2 and n:
            return await inner_loop_compiled(n - 1, acc)
    return acc


class Machine:
    """The owner of the method pair."""

    async def by_hand(self, n: int, acc: int) -> int:
        while True:
            if n == 0:
                return acc
            n, acc = n - 1, acc + n

    @tailrec
    async def compiled(self, n: int, acc: int) -> int:
        if n == 0:
            return acc
        return await self.compiled(n - 1, acc + n)


async def closures_by_hand(n: int, last: Callable[[], int] | None) -> Callable[[], int] | None:
    while True:
        if n == 0:
            return last
        n, last = n - 1, (lambda n=n: n)


@tailrec
async def closures_compiled(n: int, last: Callable[[], int] | None) -> Callable[[], int] | None:
    if n == 0:
        return last
    return await closures_compiled(n - 1, lambda: n)


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    bar: float | None
    by_hand: Callable[..., Any]
    compiled: Callable[..., Any]
    arguments: Callable[[int], tuple[Any, ...]]


ROWS = (
    Row(
        "direct: one dataclass state, unchanged parameter",
        1.15,
        dataclass_by_hand,
        dataclass_compiled,
        lambda n: (State(n, 0), 2),
    ),
    Row(
        "the same, and each step awaits a coroutine",
        1.15,
        awaited_by_hand,
        awaited_compiled,
        lambda n: (State(n, 0), 2),
    ),
    Row("nothing but two counters", None, counter_by_hand, counter_compiled, lambda n: (n, 0)),
    Row("keywords, omitted default, keyword-only", 1.30, keywords_by_hand, keywords_compiled, lambda n: (n,)),
    Row("positional-only, omitted default", 1.30, positional_only_by_hand, positional_only_compiled, lambda n: (n,)),
    Row("*args and **kwargs handed on", 4.0, spread_by_hand, spread_compiled, lambda n: (n, 1, 2)),
    Row("**spread into plain parameters", 4.0, mapping_by_hand, mapping_compiled, lambda n: (n,)),
    Row("inside an inner loop", 1.40, inner_loop_by_hand, inner_loop_compiled, lambda n: (n, 0)),
    Row("self.method", 4.0, Machine().by_hand, Machine().compiled, lambda n: (n, 0)),
    Row("step form (a closure in every step)", 20.0, closures_by_hand, closures_compiled, lambda n: (n, None)),
)
DECORATE_NAME, DECORATE_BAR_US = "decorating a nested function (us)", 15.0

# ---------------------------------------------------------------- measuring


def run(coroutine: Any) -> Any:
    """Drive a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("the benchmark's coroutines do not suspend")


def timed(fn: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[float, Any]:
    """Give the seconds this process computed for one run, and the run's result."""
    gc.collect()
    started = time.process_time()
    result = run(fn(*arguments))
    return time.process_time() - started, result


def measure(row: Row, n: int, samples: int) -> dict[str, Any]:
    """Measure one row: interleaved samples, the median of their ratios."""
    ratios, hand_ns, compiled_ns = [], [], []
    for _ in range(samples):
        by_hand_s, expected = timed(row.by_hand, row.arguments(n))
        compiled_s, result = timed(row.compiled, row.arguments(n))
        if not callable(expected) and result != expected:
            raise AssertionError(f"{row.name}: {result!r} instead of {expected!r}")
        if callable(expected) and result() != expected():
            raise AssertionError(f"{row.name}: closure gives {result()!r} instead of {expected()!r}")
        ratios.append(compiled_s / by_hand_s)
        hand_ns.append(by_hand_s / n * 1e9)
        compiled_ns.append(compiled_s / n * 1e9)
    return {
        "name": row.name,
        "bar": row.bar,
        "ratio": statistics.median(ratios),
        "by_hand_ns": statistics.median(hand_ns),
        "compiled_ns": statistics.median(compiled_ns),
    }


def measure_decoration(number: int) -> dict[str, Any]:
    """Measure what the decorator costs each time an enclosing function runs (its plan is made
    once).
    """

    def make(decorator: Callable[[Any], Any]) -> Any:
        @decorator
        async def nested(n: int, acc: int = 0) -> int:
            if n == 0:
                return acc
            return await nested(n - 1, acc + number)

        return nested

    def one(decorator: Callable[[Any], Any]) -> float:
        started = time.process_time()
        for _ in range(number):
            make(decorator)
        return (time.process_time() - started) / number * 1e6

    make(tailrec)
    costs = [one(tailrec) - one(lambda fn: fn) for _ in range(5)]
    return {
        "name": DECORATE_NAME,
        "bar": DECORATE_BAR_US,
        "ratio": statistics.median(costs),
        "by_hand_ns": None,
        "compiled_ns": None,
    }


def all_rows(n: int, samples: int) -> list[dict[str, Any]]:
    """Measure everything; a row that fails carries its error, so that a peer's table is complete
    too.
    """
    rows: list[dict[str, Any]] = []
    with no_collection():
        for row in ROWS:
            try:
                rows.append(measure(row, n, samples))
            except (Exception, RecursionError) as error:  # noqa: BLE001 - a peer may fail in any way
                rows.append(
                    {"name": row.name, "bar": row.bar, "ratio": None, "error": f"{type(error).__name__}: {error}"[:60]}
                )
        rows.append(measure_decoration(200))
    return rows


@contextlib.contextmanager
def no_collection() -> Any:
    """Keep the garbage collector out of the measurement."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def peer_rows(python: str, n: int, samples: int) -> dict[str, dict[str, Any]]:
    """Run this file with the `loom` of another environment and read its rows."""
    command = [python, __file__, "--json", "--n", str(n), "--samples", str(samples)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    lines = done.stdout.strip().splitlines()
    if not lines:
        raise SystemExit(f"cannot measure the peer: {python} printed nothing. It said: {done.stderr.strip()[-300:]}")
    return {row["name"]: row for row in json.loads(lines[-1])["rows"]}


def show(rows: list[dict[str, Any]], peer: dict[str, dict[str, Any]], title: str) -> bool:
    """Print the table; return whether every bar is met."""
    print(title)
    print(f"{'':49} {'by hand':>9} {'compiled':>9} {'ratio':>7} {'bar':>7}  {'':8}{'peer' if peer else ''}".rstrip())
    met = True
    for row in rows:
        beside = peer.get(row["name"], {})
        shown = f"{beside['ratio']:.2f}" if beside.get("ratio") is not None else beside.get("error", "")
        bar = f"{row['bar']:.2f}" if row["bar"] else "-"
        if row["ratio"] is None:
            print(f"{row['name']:49} {row['error']}  {shown}".rstrip())
            met = False
            continue
        is_met = row["bar"] is None or row["ratio"] <= row["bar"]
        met = met and is_met
        times = [f"{row[key]:.0f} ns" if row[key] is not None else "" for key in ("by_hand_ns", "compiled_ns")]
        verdict = "" if row["bar"] is None else "met" if is_met else "MISSED"
        print(f"{row['name']:49} {times[0]:>9} {times[1]:>9} {row['ratio']:7.2f} {bar:>7}  {verdict:8}{shown}".rstrip())
    return met


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="tailcalls", description="Compare compiled tail calls with hand-written loops."
    )
    parser.add_argument("--n", type=int, default=50_000, help="steps of one run (default: 50000)")
    parser.add_argument("--samples", type=int, default=9, help="runs of each row (default: 9)")
    parser.add_argument("--peer-python", metavar="PATH", help="an interpreter whose `loom` is another release")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    given = parser.parse_args(arguments)
    if given.n < 1 or given.samples < 1:
        parser.error("--n and --samples count from 1")
    rows = all_rows(given.n, given.samples)
    if given.json:
        print(json.dumps({"python": sys.version.split()[0], "rows": rows}))
        return 0
    peer = peer_rows(given.peer_python, given.n, given.samples) if given.peer_python else {}
    title = f"python {sys.version.split()[0]}, {given.n} steps, median of {given.samples} interleaved samples"
    return 0 if show(rows, peer, title) else 1


if __name__ == "__main__":
    sys.exit(main())
