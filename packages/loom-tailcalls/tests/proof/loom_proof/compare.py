"""Compare one generated program in every mode with its two references."""

from __future__ import annotations

import dataclasses
import itertools
import linecache
import re

import loom

from loom_proof import observe, stepwise

#: Codes a program of the accepted fragment may still be refused with, and why that is right.
ALLOWED_REFUSALS = {
    "LT009": "an option that this kind of function does not have",
    "LT020": "a `finally` of an async generator may call the step off",
    "LT021": "a generator has no transition",
}
_CALLED = re.compile(r"(program_under_test|loom_proof\.stepwise)\.((C|make\.<locals>)\.)?(_next_\w+|f)\(\)")
_numbers = itertools.count()


class Mismatch(AssertionError):
    """A program that the compiler runs differently from its reference; the text holds the program
    and both observations.
    """


@dataclasses.dataclass(slots=True)
class Verdict:
    """The result of one comparison, for the counts of a sweep."""

    refused: dict[str, str]  # mode -> code
    reported: bool
    observation: observe.Observation


def same(left: observe.Observation, right: observe.Observation, *, where: bool = True) -> bool:
    """Whether two observations are equal; a reference that moves the call into a separate function
    names that one in errors.
    """

    def facts(seen: observe.Observation) -> tuple[object, ...]:
        value = _CALLED.sub("f()", seen.value)
        return (
            seen.kind,
            value,
            tuple(_CALLED.sub("f()", e) for e in seen.events),
            seen.suspensions,
            where and seen.where,
        )

    return facts(left) == facts(right)


def check(source: str) -> Verdict:
    """Run a program as recursion, step by step, and compiled in every mode.

    Raises:
        Mismatch: Some mode differs from its reference, or differs from recursion without saying so.
    """
    number = next(_numbers)
    filename = f"<generated {number}>"
    linecache.cache.pop(f"<generated {number - 50}>", None)

    def run(decorators: observe.Decorators) -> observe.Observation:
        return observe.run(source, filename, decorators, loop=False, allowed_warning=loom.BlockScopeWarning)

    def differs(mode: str, expected: observe.Observation, seen: observe.Observation) -> Mismatch:
        return Mismatch(f"{mode} differs\n--- expected\n{expected}\n--- observed\n{seen}\n--- program\n{source}")

    recursion, by_steps = run(observe.plain()), run(stepwise.decorators())
    verdict = Verdict({}, False, recursion)
    modes = {"unsaid": by_steps, "step": by_steps, "exact": recursion, "transition": by_steps}
    for mode, expected in modes.items():
        if mode == "transition":
            decorators = observe.by_transitions(blocks="step")
        else:
            decorators = observe.compiled(**({} if mode == "unsaid" else {"blocks": mode}))
        seen = run(decorators)
        if seen.value.startswith("TailCallError: "):
            verdict.refused[mode] = seen.value[15:20]
            if verdict.refused[mode] not in ALLOWED_REFUSALS:
                raise differs(mode, expected, seen)
            continue
        if not same(expected, seen, where=mode == "exact"):
            raise differs(f'blocks="{mode}"', expected, seen)
        assert decorators.program is not None
        deviations = loom.explain_tailcalls(decorators.program.compiled, as_json=True)["deviations"]
        if mode == "step":
            verdict.reported = bool(deviations)
            if not deviations and not same(recursion, seen):
                raise differs("no deviation is reported, and recursion", recursion, seen)
    return verdict
