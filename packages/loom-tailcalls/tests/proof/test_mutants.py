"""Faults in the compiler are caught: the corpus alone kills every named mutant.
`loom_proof.mutants` tries the generator, too.
"""

import pytest
from loom_proof.mutants import MUTANTS, UNCHANGED, caught_by


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_corpus_catches(mutant):
    assert caught_by(mutant, generated=0) is not None


def test_the_corpus_catches_nothing_where_there_is_no_fault():
    assert caught_by(UNCHANGED, generated=0) is None
