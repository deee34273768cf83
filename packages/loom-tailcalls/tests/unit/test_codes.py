"""The table is complete and sorted, and its texts have the common form."""

import re
from pathlib import Path

import loom
from loom._codes import CODES, DEVIATIONS


def test_codes_are_numbered_without_gaps():
    assert list(CODES) == [f"LT{number:03}" for number in range(1, len(CODES) + 1)]


def test_every_code_in_the_source_is_in_the_table_and_used():
    text = "".join(path.read_text() for path in Path(loom.__file__).parent.glob("_*.py") if path.name != "_codes.py")
    assert set(re.findall(r'"(LT\d{3})"', text)) == set(CODES)


def test_every_deviation_in_the_source_is_in_the_table_and_used():
    text = (Path(loom.__file__).parent / "_analysis.py").read_text()
    assert set(re.findall(r'_deviation\("([a-z-]+)"', text)) == set(DEVIATIONS)


def test_titles_continue_a_sentence_and_fixes_are_sentences():
    for entry in (*CODES.values(), *DEVIATIONS.values()):
        assert entry.title[0].islower()
        assert not entry.title.endswith(".")
        assert entry.fix[0].isupper()
        assert entry.fix.endswith(".")
        assert not entry.why.endswith(".")
        assert entry.key in repr(entry)
