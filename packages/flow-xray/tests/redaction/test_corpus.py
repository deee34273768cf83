"""Recall and precision of the redactor, on texts of many kinds."""

import importlib.util
from pathlib import Path

from flow_xray._redaction.redactor import Redactor

CORPUS = Path(__file__).parent / "corpus"
spec = importlib.util.spec_from_file_location("flow_xray_corpus", CORPUS / "positive.py")
assert spec is not None
assert spec.loader is not None
corpus = importlib.util.module_from_spec(spec)
spec.loader.exec_module(corpus)
INNOCENT = (CORPUS / "innocent.txt").read_text().splitlines()


def test_secrets_of_at_least_95_percent_of_the_kinds_are_masked():
    found = corpus.positive()
    missed = [(kind, text) for kind, text, secret in found if secret in Redactor().text(text)]
    print(f"\nredaction: {len(found) - len(missed)} of {len(found)} kinds masked")
    assert len(found) >= 95
    assert len(missed) <= len(found) * 0.05, missed


def test_at_most_2_of_70_innocent_lines_are_masked():
    masked = [(line, Redactor().text(line)) for line in INNOCENT if Redactor().text(line) != line]
    print(f"\nredaction: {len(masked)} of {len(INNOCENT)} innocent lines masked")
    assert len(INNOCENT) >= 70
    assert len(masked) <= len(INNOCENT) * 2 / 70, masked
