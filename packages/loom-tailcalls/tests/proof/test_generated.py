"""Generated programs of the accepted fragment: recursion, the step reference and the compiler agree."""

import os

from hypothesis import HealthCheck, given, note, seed, settings
from loom_proof import observe, stepwise
from loom_proof.compare import check, same
from loom_proof.generate import programs

SEED = int(os.environ.get("LOOM_FUZZ_SEED", "20"))
SETTINGS = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}


@seed(SEED)
@settings(max_examples=300, **SETTINGS)
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
