import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loom_runner._store.delta import apply, difference, leads_to

WORDS = random.Random(1).choices("abcdefghijklmnopqrstuvwxyz     ", k=400_000)


def text(size: int) -> bytes:
    return "".join(WORDS[:size]).encode()


@pytest.mark.parametrize(
    ("before", "data"),
    [
        (b"", b""),
        (b"", b"a"),
        (b"a", b""),
        (b"same", b"same"),
        (b"aaaa", b"aa"),
        (b"aa", b"aaaa"),
        (b"abab", b"ababab"),
        (text(200_000), text(200_000)),
        (text(65_536), text(65_537)),
        (text(131_072), b"x" + text(131_072)),
        (text(200_000), text(100_000) + b"!" + text(200_000)[100_000:]),
    ],
)
def test_a_difference_gives_the_text_back(before, data):
    delta = difference(before, data)
    assert apply(before, delta) == data
    assert leads_to(delta, data)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.binary(max_size=300), st.binary(max_size=60))
def test_a_difference_of_any_two_texts_gives_the_second_back(start, end, other):
    assert apply(start + end, difference(start + end, start + other + end)) == start + other + end


def test_a_text_that_grows_at_its_end_costs_what_it_grew_by():
    assert len(difference(text(300_000), text(300_000) + text(800))) < 800


def test_changes_at_both_ends_of_a_large_text_are_found():
    before = b'{"n":1,"x":"' + text(390_000) * 4 + b'"}'  # above the megabyte that zstd indexes by itself
    after = b'{"n":2,"x":"' + text(390_000) * 4 + b' more"}'
    assert len(difference(before, after)) < 200


def test_a_difference_to_another_text_is_an_error_never_a_wrong_text():
    delta = difference(text(10_000), text(10_000) + b"more")
    for other in (b"", text(9_999), b"X" + text(10_000)[1:]):
        with pytest.raises(ValueError, match="the difference"):
            apply(other, delta)
    assert not leads_to(delta, text(10_000))


def test_a_damaged_difference_is_an_error():
    before, data = text(10_000), text(5_000) + b"changed" + text(9_000)
    delta = difference(before, data)
    for position in range(0, len(delta), 3):
        broken = delta[:position] + bytes([delta[position] ^ 0x55]) + delta[position + 1 :]
        with pytest.raises(ValueError, match="the difference"):
            apply(before, broken)
    with pytest.raises(ValueError, match="cannot be read"):
        apply(before, b"x")
