"""A refusal reports what, where, why, and what to do; and it can be pickled."""

import pickle

import loom
from loom import TailCallError


def sample(**facts):
    given = {
        "reason": "r",
        "fix": "f",
        "filename": "a.py",
        "line": 3,
        "column": 5,
        "source_line": "    return f()",
        "width": 10,
    }
    return TailCallError("LT011", "'f'", **{**given, **facts})


def test_the_message_shows_the_place():
    assert str(sample()).splitlines() == [
        "LT011: cannot compile 'f': it calls itself outside tail position.",
        '  File "a.py":3:5',
        "    return f()",
        "    ^^^^^^^^^^",
        "  Why: r",
        "  Fix: f",
    ]


def test_the_caret_stays_within_the_line():
    assert "    return f()\n           ^^^\n" in str(sample(column=12, width=99))


def test_without_a_place_there_is_no_caret():
    assert "^" not in str(sample(filename=None))
    assert "^" not in str(sample(source_line=" "))


def test_a_refusal_is_pickled_with_all_facts():
    error = sample()
    copied = pickle.loads(pickle.dumps(error))
    assert str(copied) == str(error)
    assert repr(copied) == repr(error)
    assert (copied.code, copied.line, copied.fix) == ("LT011", 3, "f")


def test_the_warning_is_a_user_warning():
    assert issubclass(loom.BlockScopeWarning, UserWarning)
