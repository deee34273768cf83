"""Compare many generated programs: `python -m loom_proof.sweep -n 10000 --seed 1`, from the folder
that holds `loom_proof`.

Prints the seed, the counts and, on a mismatch, the smallest program found that shows it. Exit code
0: no mismatch; 1: a mismatch.

Choices are drawn evenly here: Hypothesis likes small and similar examples, which is good for
finding edge cases and bad for a sweep. (Measured on the mutants of `mutants.py`: 300 Hypothesis
examples catch 6 of 10, 300 even ones 9.) Every program has its own seed, so a failure is repeated
with ``-n 1 --seed THAT``.
"""

from __future__ import annotations

import argparse
import collections
import random
import sys
import time

from loom_proof.compare import Mismatch, check
from loom_proof.generate import choices_of, replay, write


def program(seed: int) -> tuple[str, list[int]]:
    """Return the program of a seed, and its choices."""
    below, choices = choices_of(random.Random(seed))
    return write(below), choices


def fails(choices: list[int]) -> Mismatch | None:
    """Compare the program of these choices; return the mismatch, if there is one."""
    try:
        check(write(replay(choices)))
    except Mismatch as mismatch:
        return mismatch
    return None


def smaller(choices: list[int], mismatch: Mismatch, seconds: float = 60.0) -> Mismatch:
    """Remove or simplify choices as long as the program still shows a mismatch."""
    ends = time.monotonic() + seconds
    best, found = list(choices), mismatch
    size = max(1, len(best) // 2)
    while size and time.monotonic() < ends:
        at = 0
        while at < len(best) and time.monotonic() < ends:
            shorter = best[:at] + best[at + size :]
            simpler = best[:at] + [0] * len(best[at : at + size]) + best[at + size :]
            for attempt in (shorter, simpler):
                if attempt != best and (seen := fails(attempt)) is not None:
                    best, found = attempt, seen
                    break
            else:
                at += size
                continue
            if best is not shorter:
                at += size
        size //= 2
    return found


def sweep(number: int, first_seed: int, *, echo: bool = False) -> collections.Counter[str]:
    """Compare `number` programs and count what they were.

    Raises:
        Mismatch: With the smallest program found; its text names the seed.
    """
    counts: collections.Counter[str] = collections.Counter()
    started = time.monotonic()
    for seed in range(first_seed, first_seed + number):
        source, choices = program(seed)
        try:
            verdict = check(source)
        except Mismatch as mismatch:
            raise Mismatch(f"seed {seed}: {smaller(choices, mismatch)}") from None
        counts["programs"] += 1
        counts["with reported deviations"] += verdict.reported
        counts[f"recursion {verdict.observation.kind}"] += 1
        for mode, code in verdict.refused.items():
            counts[f"refused {code} ({mode})"] += 1
        if echo and counts["programs"] % 1000 == 0:
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
    print(f"seed {first_seed}, python {sys.version.split()[0]}", flush=True)
    try:
        counts = sweep(given_arguments.number, first_seed, echo=True)
    except Mismatch as mismatch:
        print(f"MISMATCH, {mismatch}")
        return 1
    for name, count in sorted(counts.items()):
        print(f"{count:8} {name}")
    print("0 mismatches")
    return 0


if __name__ == "__main__":
    sys.exit(main())
