"""What questions cost when a database has grown: every bar beside the same question without an
index.

    python benchmarks/runner_growth.py            1,000,000 runs; a minute
    python benchmarks/runner_growth.py --quick    a tenth of the rows: the shape, not the figures
    python benchmarks/runner_growth.py --json

The rows are written by SQL, as the store would have written them. The fastest of several samples
counts. Exit code 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loom_runner import Runs, SQLiteStore
from loom_runner._queries.doctor import examine
from loom_runner._queries.tracing import write_trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BEGIN_US = 1_760_000_000_000_000
RUNS = """INSERT INTO runs (run_id, status, program, step_index, fence, created_at, updated_at, wait, result, input,
              state)
          VALUES (?, ?, ?, 1, 1, ?, ?, ?, ?, ?, ?)"""
LEASES = """INSERT INTO leases (run_key, fence, machine, pid, process, code, code_at, first_step, taken_at, ended_at,
                ended_as)
            SELECT run_key, 1, 'm', 9, 'p', 'c', 'a.py:1', 0, created_at, updated_at, status FROM runs"""
STEPS = """INSERT INTO steps (step_key, outcome, attempts, started_at, ended_at, fence, state)
           SELECT run_key << 32, 'complete', 1, created_at, updated_at, 1, state FROM runs"""


@dataclass(frozen=True)
class Row:
    """One claim: what was measured, its bar, and what stands beside it."""

    name: str
    value: float
    bar: float
    unit: str
    beside: str = ""

    @property
    def verdict(self) -> str:
        """Say whether the bar was met."""
        return "met" if self.value <= self.bar else "MISSED"


def run_rows(count: int) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of runs of all kinds: of 20 one waits, of 1,000 one has failed."""
    for n in range(count):
        status = "waiting" if n % 20 == 0 else "failed" if n % 1000 == 7 else "completed"
        wait = '{"signal": "go"}' if status == "waiting" else None
        program = "billing:step" if n % 4 else "cleanup:step"
        at = BEGIN_US + n * 1000
        state = json.dumps({"kind": "do", "customer": f"c{n % 1000}"})
        yield f"order-{n}", status, program, at, at + n * 7919 % 100_000 * 1000, wait, None, state, state


def filled(path: Path, count: int) -> SQLiteStore:
    """Open a new database and write its runs."""
    store = SQLiteStore(path, "process")
    db = store._file.db
    with db:
        db.executemany(RUNS, run_rows(count))
        db.execute(LEASES)
        db.execute(STEPS)
    return store


def long_run(store: SQLiteStore, steps: int) -> None:
    """Write one run of many steps."""
    db = store._file.db
    with db:
        db.execute(RUNS, ("long", "completed", "long:step", BEGIN_US, BEGIN_US + steps * 30, None, "1", "0", "0"))
        key = db.last_insert_rowid()
        db.execute("UPDATE runs SET step_index = ?, work_us = ? WHERE run_key = ?", (steps, steps * 4, key))
        db.execute(f"{LEASES} WHERE run_key = ?", (key,))
        db.executemany(
            """INSERT INTO steps (step_key, outcome, attempts, started_at, ended_at, fence, state)
               VALUES (?, 'continue', 1, ?, ?, 1, ?)""",
            (((key << 32) | n, BEGIN_US + n * 30, BEGIN_US + n * 30 + 4, str(n + 1)) for n in range(steps)),
        )


def fastest_ms(work: Callable[[], object], samples: int = 5) -> float:
    """Return the time of the fastest sample."""
    times = []
    for _ in range(samples):
        started = time.perf_counter()
        work()
        times.append((time.perf_counter() - started) * 1000)
    return min(times)


def questions(store: SQLiteStore, count: int) -> Iterator[Row]:
    """Lists, searches and polls."""
    runs, db = Runs(store), store._file.db
    plain = "SELECT * FROM runs {} ORDER BY +updated_at DESC LIMIT 100"
    for name, work, where in (
        ("list", runs.list, ""),
        ("list --status failed", lambda: runs.list(status="failed"), "WHERE +status = 'failed'"),
        ("list --agent", lambda: runs.list(agent="cleanup:step"), "WHERE +program = 'cleanup:step'"),
        ("list --prefix", lambda: runs.list(prefix="order-77"), "WHERE run_id LIKE 'order-77%'"),
        ("list --search", lambda: runs.list(text="777"), "WHERE run_id LIKE '%777%'"),
    ):
        by_hand = fastest_ms(lambda where=where: db.execute(plain.format(where)).fetchall(), 1)
        yield Row(
            f"{name}, {count:,} runs", fastest_ms(work), 50, "ms", f"by hand, without an index: {by_hand:,.0f} ms"
        )
    ready = fastest_ms(lambda: store.reader.ready_runs(["billing:step"], time.time_ns() // 1000, limit=8))
    yield Row(f"the poll of a worker, {count:,} runs", ready, 5, "ms")
    yield Row(f"stats, {count:,} runs", fastest_ms(runs.stats), 100, "ms")


def all_rows(is_quick: bool) -> Iterator[Row]:
    """Measure everything."""
    share = 10 if is_quick else 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with filled(folder / "large.sqlite", 1_000_000 // share) as store:
            yield from questions(store, 1_000_000 // share)
        path = folder / "runs.sqlite"
        with filled(path, 100_000 // share) as store:
            took = fastest_ms(lambda: list(examine(store.reader, str(path))), 1) / 1000
            yield Row(f"doctor, {100_000 // share:,} runs", took, 2, "s")
        with SQLiteStore(folder / "long.sqlite", "process") as store:
            long_run(store, 300_000 // share)
            page = folder / "long.html"
            took = fastest_ms(lambda: write_trace(store.reader, "long", page), 1) / 1000
            size = page.stat().st_size / 1e6
            yield Row(f"trace of {300_000 // share:,} steps", took, 10, "s")
            yield Row(f"page of {300_000 // share:,} steps", size, 2, "MB")
            yield Row("explain of it", fastest_ms(lambda: Runs(store).explain("long")), 50, "ms")


def main() -> int:
    """Measure, print, and say whether every bar was met."""
    parser = argparse.ArgumentParser(description="Measure questions about a large database.")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    parser.add_argument("--json", action="store_true", help="one JSON array instead of the table")
    options = parser.parse_args()
    rows = []
    for row in all_rows(options.quick):
        rows.append(row)
        if not options.json:
            print(f"{row.name:<44} {row.value:>9.2f} {row.unit:<3} bar {row.bar:>5g}  {row.verdict:<7} {row.beside}")
    if options.json:
        print(json.dumps([asdict(row) | {"verdict": row.verdict} for row in rows], indent=2))
    return int(any(row.verdict == "MISSED" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
