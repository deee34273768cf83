import pytest
from loom_runner._model.formatting import duration, plural, shorten, size


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [
        (0, "0 us"),
        (-5, "0 us"),
        (840, "840 us"),
        (1_200, "1.2 ms"),
        (12_000, "12 ms"),
        (999_600, "1.0 s"),
        (12_400_000, "12.4 s"),
        (59_990_000, "1 m 0 s"),
        (252_000_000, "4 m 12 s"),
        (7_800_000_000, "2 h 10 m"),
        (273_600_000_000, "3 d 4 h"),
    ],
)
def test_durations(microseconds, text):
    assert duration(microseconds) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (912, "912 B"), (2_100, "2.1 KB"), (13_400_000, "13 MB"), (999_999, "1.0 MB"), (5e12, "5000 GB")],
)
def test_sizes(size_bytes, text):
    assert size(size_bytes) == text


def test_counts_and_cuts():
    assert (plural(1, "step"), plural(2, "step"), plural(1_000, "process", "processes")) == (
        "1 step",
        "2 steps",
        "1,000 processes",
    )
    assert (shorten("a\n b", 9), shorten("abcdefghij", 7)) == ("a b", "abcd...")
