"""The sweeps, as a command:
`python -m loom_runner.testing [kill|power|faults|peek] [--number N] [--seed S] [--every K]`.

`kill` (the default) kills an agent at random points a thousand times; `power` simulates a loss of
power after every operation on the disk; `faults` lets the disk refuse every write, sync and open;
`peek` kills processes while other SQLite libraries use their database. Each counts what is lost or
repeated.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from loom_runner.testing._disk_sweeps import fault_sweep, power_sweep
from loom_runner.testing._kill_sweep import print_progress, print_report, sweep_parser
from loom_runner.testing._peek_sweep import peek_sweep
from loom_runner.testing._sweep import sweep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loom_runner.testing._disk_sweeps import DiskReport
    from loom_runner.testing._kill_sweep import SweepReport


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sweep; return 1 if it found problems, else 0."""
    parser = sweep_parser("loom_runner.testing", __doc__, number=1000)
    parser.add_argument(
        "what", nargs="?", choices=["kill", "power", "faults", "peek"], default="kill", help="kill by default"
    )
    parser.add_argument("--every", type=int, default=1, help="power, faults: every K-th operation only")
    given = parser.parse_args(arguments)
    if given.number < 1 or given.every < 1:
        parser.error("--number and --every start at 1")
    reports: Sequence[SweepReport | DiskReport]
    if given.what == "kill":
        reports = [sweep(given.number, seed=given.seed, on_progress=print_progress)]
    elif given.what == "peek":
        reports = [peek_sweep(given.number, seed=given.seed, on_progress=print_progress)]
    elif given.what == "power":
        reports = [
            power_sweep(durability, every=given.every, seed=given.seed, on_progress=print_progress)
            for durability in ("power", "process")
        ]
    else:
        reports = [fault_sweep(every=given.every, on_progress=print_progress)]
    return max([print_report(report, report.problems) for report in reports])


if __name__ == "__main__":
    sys.exit(main())
