"""The sweeps, as a command:
`python -m loom_runner.testing [kill|power|faults] [--number N] [--seed S] [--every K]`.

`kill` (the default) kills an agent at random points a thousand times; `power` simulates a loss of
power after every operation on the disk; `faults` lets the disk refuse every write, sync and open.
Each counts what is lost or repeated.
"""

from __future__ import annotations

import argparse
import random
import sys
from typing import TYPE_CHECKING

from loom_runner.testing._disk_sweeps import fault_sweep, power_sweep
from loom_runner.testing._sweep import sweep

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sweep; return 1 if it found problems, else 0."""
    parser = argparse.ArgumentParser(
        prog="python -m loom_runner.testing", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=["kill", "power", "faults"], default="kill", help="kill by default")
    parser.add_argument("--number", type=int, default=1000, help="kill: how many processes (1000)")
    parser.add_argument("--seed", type=int, default=None, help="repeat an earlier sweep")
    parser.add_argument("--every", type=int, default=1, help="power, faults: every K-th operation only")
    given = parser.parse_args(arguments)
    if given.number < 1 or given.every < 1:
        parser.error("--number and --every start at 1")
    seed = random.randrange(2**31) if given.seed is None else given.seed  # noqa: S311  (names the sweep)

    def on_progress(line: str) -> None:
        print(line, file=sys.stderr)

    found: list[str] = []
    if given.what == "kill":
        report = sweep(given.number, seed=seed, on_progress=on_progress)
        print(report)
        found = report.problems
    elif given.what == "power":
        for durability in ("power", "process"):
            lost = power_sweep(durability, every=given.every, seed=seed, on_progress=on_progress)
            print(lost)
            found += lost.problems
    else:
        refused = fault_sweep(every=given.every, on_progress=on_progress)
        print(refused)
        found = refused.problems
    for problem in found:
        print(f"  {problem}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
