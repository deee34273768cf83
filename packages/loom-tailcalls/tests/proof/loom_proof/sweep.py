"""Compare many generated programs: `python -m loom_proof.sweep -n 10000 --seed 1`, from the folder that holds `loom_proof`.

Prints the seed, the counts and, on a mismatch, the smallest program that shows it. Exit code 0: no mismatch; 1: a mismatch.
"""

from __future__ import annotations

import argparse
import collections
import random
import sys
import time

from hypothesis import HealthCheck, Phase, given, seed, settings

from loom_proof.compare import Mismatch, check
from loom_proof.generate import programs


def sweep(number: int, first_seed: int, *, echo: bool = True) -> collections.Counter[str]:
    """Compare `number` programs and count what they were. Hypothesis shrinks a mismatch before it is raised."""
    counts: collections.Counter[str] = collections.Counter()
    started = time.monotonic()
    chunk = 1000
    for start in range(0, number, chunk):

        @seed(first_seed + start)
        @settings(
            max_examples=min(chunk, number - start),
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(programs())
        def compare(source: str) -> None:
            verdict = check(source)
            counts["programs"] += 1
            counts["with reported deviations"] += verdict.reported
            counts[f"recursion {verdict.observation.kind}"] += 1
            for mode, code in verdict.refused.items():
                counts[f"refused {code} ({mode})"] += 1

        compare()
        if echo:
            print(f"{counts['programs']} programs, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return counts


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="loom_proof.sweep", description="Compare generated programs with plain recursion."
    )
    parser.add_argument("-n", "--number", type=int, default=1000, help="how many programs (default: 1000)")
    parser.add_argument("--seed", type=int, default=None, help="first seed (default: drawn, and printed)")
    given_arguments = parser.parse_args(arguments)
    first_seed = random.SystemRandom().randrange(2**32) if given_arguments.seed is None else given_arguments.seed
    print(f"seed {first_seed}, python {sys.version.split()[0]}")
    try:
        counts = sweep(given_arguments.number, first_seed)
    except Mismatch as mismatch:
        print(f"seed {first_seed}: MISMATCH\n{mismatch}")
        return 1
    for name, count in sorted(counts.items()):
        print(f"{count:8} {name}")
    print("0 mismatches")
    return 0


if __name__ == "__main__":
    sys.exit(main())
