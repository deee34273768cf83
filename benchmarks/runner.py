"""What durability costs: every bar of the runner, each beside SQLite used by hand in the same run.

    python benchmarks/runner.py                     the table; minutes, most of them for 1,000,000 steps
    python benchmarks/runner.py --quick             everything smaller, in half a minute: the shape, not the figures
    python benchmarks/runner.py --only step         the rows whose name holds a word
    python benchmarks/runner.py --json

The rival of a step is the loop that a careful person writes: the same driver (apsw), the same
pragmas, one transaction of two statements (the run's row is updated where its step is still the
expected one, the step's row is inserted), JSON states, an awaited coroutine. Ours and the rival
take turns, so a slow moment of the machine hits both, and the faster quarter of the samples counts,
so other programs do not; times are of the clock on the wall, because waiting for the disk is what
is measured. Exit code 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
from by_hand.runs import Groups, count_by_hand, count_in_groups, open_by_hand
from loom_runner import AgentRunner, Complete, Continue, RunContext, SQLiteStore
from loom_runner.testing import sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loom_runner import Durability


@dataclass(frozen=True)
class Row:
    """One claim: what was measured, its bar, and what stands beside it."""

    name: str
    value: float | None
    bar: float
    unit: str
    beside: str = ""
    is_floor: bool = False
    why_not: str = ""

    @property
    def verdict(self) -> str:
        """Say whether the bar was met."""
        if self.value is None:
            return f"not measured: {self.why_not}"
        return "met" if (self.value >= self.bar if self.is_floor else self.value <= self.bar) else "MISSED"


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    step_us_steps: int = 900
    samples: int = 31
    runs: int = 1_000
    steps_each: int = 10
    turns: int = 1_000
    long_steps: int = 1_000_000
    resume_steps: int = 100_000
    kills: int = 1_000


QUICK = Sizes(600, 5, 100, 5, 200, 40_000, 10_000, 20)


# ---------------------------------------------------------------- our loop


@dataclass(frozen=True)
class State:
    """A tiny state."""

    n: int = 0
    goal: int = 0


async def count(state: State, _ctx: RunContext) -> Continue[State] | Complete[int]:
    """Count one further."""
    if state.n >= state.goal:
        return Complete(state.n)
    return Continue(State(state.n + 1, state.goal))


def ours(folder: Path, durability: Durability, **options: Any) -> AgentRunner:
    """Make the runner of the tiny state."""
    return AgentRunner(step=count, store=SQLiteStore(folder / "runs.sqlite", durability), **options)


# ---------------------------------------------------------------- rows


def step_overhead(durability: Durability, bar: float, sizes: Sizes) -> Row:
    """One step of ours and one by hand."""
    steps = sizes.step_us_steps
    mine_us, hand_us = [], []

    async def sample(runner: AgentRunner, db: apsw.Connection, number: int) -> None:
        started = time.perf_counter()
        await count_by_hand(db, number, steps)
        between = time.perf_counter()
        await runner.start(run_id=f"r{number}", initial_state=State(0, steps))
        ended = time.perf_counter()
        if number:  # the first warms both
            hand_us.append((between - started) / steps * 1e6)
            mine_us.append((ended - between) / steps * 1e6)

    with tempfile.TemporaryDirectory() as name:
        runner, db = ours(Path(name), durability), open_by_hand(Path(name), durability)
        for number in range(sizes.samples + 1):
            asyncio.run(sample(runner, db, number))
        runner.close()
        db.close()
    mine, hand = (statistics.quantiles(samples, n=4)[0] for samples in (mine_us, hand_us))
    beside = f"{mine:.0f} us a step, by hand {hand:.0f} us (the faster quarter of {sizes.samples} samples)"
    return Row(f"a step, durability {durability}", mine / hand, bar, "x by hand", beside)


def many_runs(sizes: Sizes) -> list[Row]:
    """Many runs at once, beside one run and beside a loop by hand."""
    alone = sizes.step_us_steps // 3
    ours_s, hand_s = [], []

    async def one(runner: AgentRunner) -> float:
        started = time.perf_counter()
        await runner.start(run_id="alone", initial_state=State(0, alone))
        return alone / (time.perf_counter() - started)

    async def by_hand(db: apsw.Connection, number: int) -> float:
        started = time.perf_counter()
        groups = Groups(db)
        await asyncio.gather(*(count_in_groups(groups, f"h{number}-{i}", sizes.steps_each) for i in range(sizes.runs)))
        return time.perf_counter() - started

    async def together(runner: AgentRunner, number: int) -> float:
        started = time.perf_counter()
        states = [State(0, sizes.steps_each) for _ in range(sizes.runs)]
        await asyncio.gather(
            *(runner.start(run_id=f"m{number}-{index}", initial_state=state) for index, state in enumerate(states))
        )
        return time.perf_counter() - started

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        SQLiteStore(folder / "hand.sqlite").close()
        db = apsw.Connection(str(folder / "hand.sqlite"))
        db.pragma("synchronous", "FULL")
        runner = ours(folder, "power")
        asyncio.run(one_warm(runner))
        single = asyncio.run(one(runner))
        for number in range(sizes.samples // 3 + 1):
            hand, mine = asyncio.run(by_hand(db, number)), asyncio.run(together(runner, number))
            if number:  # the first warms both
                hand_s.append(hand)
                ours_s.append(mine)
        runner.close()
        db.close()
    mine, hand = min(ours_s), min(hand_s)
    steps = sizes.runs * (sizes.steps_each + 1)
    named = f"{sizes.runs:,} runs at once, durability power"
    beside = f"{steps / mine:,.0f} steps/s together, {single:,.0f} of one run"
    return [
        Row(named, steps / mine / single, 5.0, "x one", beside, is_floor=True),
        Row("the same, beside groups by hand", mine / hand, 1.5, "x by hand", f"by hand {steps / hand:,.0f} steps/s"),
    ]


async def one_warm(runner: AgentRunner) -> None:
    """Load what is loaded once."""
    await runner.start(run_id="warm", initial_state=State(0, 20))


def chat(sizes: Sizes) -> list[Row]:
    """A conversation that grows: size and time."""
    words = [f"{number:x}" for number in range(4096, 12_000)]

    async def turn(state: dict[str, Any], _ctx: RunContext) -> Any:
        if len(state["messages"]) >= state["turns"]:
            return Complete(len(state["messages"]))
        chance = random.Random(len(state["messages"]))
        text = " ".join(chance.choices(words, k=200))[:768]
        return Continue({**state, "messages": [*state["messages"], {"role": "user", "content": text}]})

    def size_and_time(turns: int) -> tuple[float, float]:
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "runs.sqlite"
            runner = AgentRunner(step=turn, store=SQLiteStore(path, "process"))
            started = time.perf_counter()
            asyncio.run(runner.start(run_id="chat", initial_state={"turns": turns, "messages": []}))
            took = time.perf_counter() - started
            runner.close()
            return path.stat().st_size / 1e6, took

    once, took_s = size_and_time(sizes.turns)
    twice, _ = size_and_time(sizes.turns * 2)
    naive = sizes.turns * (sizes.turns + 1) / 2 * 790 / 1e6
    named = f"a chat of {sizes.turns:,} turns of 768 bytes"
    return [
        Row(f"{named}: database", once, 10.0, "MB", f"every state whole would be {naive:,.0f} MB"),
        Row("the same, turns x2: size", twice / once, 2.3, "x", f"{twice:.1f} MB"),
        Row("the same: time, durability process", took_s, 4.0, "s"),
    ]


LONG = """
import asyncio, json, sys
sys.path.insert(0, {here!r})
from pathlib import Path
from runner import State, ours

def rss_mb():
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024

runner = ours(Path({folder!r}), "process")
seen, steps = [], {steps}

async def main():
    state = State(0, steps)
    await runner.start(run_id="long", initial_state=state, max_steps=steps // 10)
    seen.append(rss_mb())
    await runner.resume(run_id="long")
    seen.append(rss_mb())

asyncio.run(main())
print(json.dumps(seen))
"""


def long_run(sizes: Sizes, folder: Path) -> Row:
    """Memory of a very long run: after a tenth of it, and at its end."""
    if not Path("/proc/self/status").exists():
        return Row("memory of a long run", None, 5.0, "MB more", why_not="this system has no /proc")
    code = LONG.format(here=str(Path(__file__).parent), folder=str(folder), steps=sizes.long_steps)
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        return Row("memory of a long run", None, 5.0, "MB more", why_not=done.stderr.strip().splitlines()[-1])
    tenth, end = json.loads(done.stdout)
    took = time.perf_counter() - started
    beside = f"{tenth:.1f} MB after a tenth, {end:.1f} MB at the end; {took:.0f} s"
    return Row(f"memory of a run of {sizes.long_steps:,} steps", abs(end - tenth), 5.0, "MB more", beside)


def resume_and_explain(sizes: Sizes, folder: Path) -> list[Row]:
    """Resume and explain a long run, and a short one."""
    runner = ours(folder, "process")
    for run_id, steps in (("short", 100), ("far", sizes.resume_steps)):
        asyncio.run(runner.start(run_id=run_id, initial_state=State(0, 10**9), max_steps=steps))
    runner.close()

    def resumed_ms(run_id: str) -> float:
        started = time.perf_counter()
        fresh = ours(folder, "process")
        asyncio.run(fresh.resume(run_id=run_id, max_steps=1))
        took = time.perf_counter() - started
        fresh.close()
        return took * 1000

    def explained_ms(run_id: str) -> float:
        with SQLiteStore(folder / "runs.sqlite", read_only=True) as store:
            reader = AgentRunner(step=count, store=store)
            started = time.perf_counter()
            str(reader.explain_run(run_id))
            return (time.perf_counter() - started) * 1000

    def best(measure: Callable[[str], float], run_id: str) -> float:
        return statistics.median(measure(run_id) for _ in range(5))

    short, far = best(resumed_ms, "short"), best(resumed_ms, "far")
    story, small = best(explained_ms, "far"), best(explained_ms, "short")
    return [
        Row(f"resume of a {sizes.resume_steps:,}-step run", far, 50.0, "ms", f"of a 100-step run {short:.1f} ms"),
        Row("explain of the same", story, 50.0, "ms", f"of a 100-step run {small:.1f} ms"),
    ]


def help_time(sizes: Sizes) -> Row:
    """The command's help, beside a bare interpreter."""

    def best(arguments: list[str]) -> float:
        times = []
        for _ in range(sizes.samples):
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
            times.append(time.perf_counter() - started)
        return min(times)

    beside = f"a bare interpreter {best(['-c', 'pass']):.3f} s"
    return Row("loom-runner --help", best(["-m", "loom_runner", "--help"]), 0.1, "s", beside)


def killed(sizes: Sizes) -> Row:
    """Processes killed at random points, and what was lost."""
    report = sweep(sizes.kills, seed=20_261_121)
    return Row(f"{sizes.kills:,} kills: lost, repeated or hidden", float(len(report.problems)), 0.0, "", str(report))


# ---------------------------------------------------------------- the table


def all_rows(sizes: Sizes, only: str) -> Iterator[Row]:
    """Measure what was asked for."""
    groups: list[tuple[str, Callable[[], Iterator[Row]]]] = []

    def group(words: str, measure: Callable[[], list[Row]]) -> None:
        groups.append((words, lambda: iter(measure())))

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        group("step process", lambda: [step_overhead("process", 1.15, sizes)])
        group("step power", lambda: [step_overhead("power", 1.1, sizes)])
        group("runs at once", lambda: many_runs(sizes))
        group("chat", lambda: chat(sizes))
        group("resume explain", lambda: resume_and_explain(sizes, folder))
        group("memory long", lambda: [long_run(sizes, folder)])
        group("help", lambda: [help_time(sizes)])
        group("kills", lambda: [killed(sizes)])
        for words, measure in groups:
            if only in words:
                yield from measure()


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="everything smaller")
    parser.add_argument("--only", default="", help="the rows whose name holds this")
    parser.add_argument("--json", action="store_true", help="one JSON value")
    given = parser.parse_args()
    rows = []
    for row in all_rows(QUICK if given.quick else Sizes(), given.only):
        rows.append(row)
        if not given.json:
            value = "" if row.value is None else f"{row.value:,.2f} {row.unit}".strip()
            bound = f"{'>=' if row.is_floor else '<='} {row.bar:g}"
            print(f"{row.name:<52} {value:>16}  {bound:>7}  {row.verdict:<8} {row.beside}".rstrip(), flush=True)
    if given.json:
        print(json.dumps([asdict(row) | {"verdict": row.verdict} for row in rows], indent=2))
    if not rows:
        parser.error(f"no row's name holds {given.only!r}")
    return 1 if any(row.verdict == "MISSED" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
