"""`python -m loom_ops.testing`: kill the processes of incidents, and compare the results."""

import argparse
import random
import sys

from loom_ops.testing._sweep import sweep


def main() -> int:
    """Run the sweep; return the exit code, 1 when a guarantee was broken."""
    parser = argparse.ArgumentParser(prog="python -m loom_ops.testing", description=__doc__)
    parser.add_argument("--number", type=int, default=200, help="how many processes to kill")
    parser.add_argument("--seed", type=int, default=None, help="repeat an earlier sweep")
    given = parser.parse_args()
    seed = random.randrange(2**31) if given.seed is None else given.seed  # noqa: S311 - names the sweep
    report = sweep(given.number, seed=seed, report_to=lambda line: print(line, file=sys.stderr))
    print(report)
    for problem in report.problems:
        print(f"  {problem}")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
