"""Generated programs of the accepted fragment: recursion, the step reference and the compiler
agree.
"""

import os

from hypothesis import HealthCheck, given, note, seed, settings
from loom_proof import observe, stepwise
from loom_proof.compare import check, same
from loom_proof.generate import programs
from loom_proof.sweep import sweep

SEED = int(os.environ.get("LOOM_FUZZ_SEED", "20"))  # printed with every failure
SETTINGS = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}


def test_programs_drawn_evenly_run_as_their_references_say():
    counts = sweep(200, SEED)
    assert counts["programs"] == 200
    assert counts["with reported deviations"] > 20
    assert counts["recursion returned"] > 100


@seed(SEED)
@settings(max_examples=60, **SETTINGS)
@given(programs())
def test_generated_programs_run_as_their_references_say(source):
    note(f"seed {SEED}")
    check(source)


@seed(SEED)
@settings(max_examples=60, **SETTINGS)
@given(programs(blocks=False))
def test_without_blocks_the_two_references_are_the_same(source):
    plain = observe.run(source, "<reference>", observe.plain(), loop=False)
    steps = observe.run(source, "<reference>", stepwise.decorators(), loop=False)
    assert same(plain, steps, where=False), f"{plain}\n{steps}\n{source}"
