"""Columns in planes: small where numbers are similar, and exact."""

import zlib

from flow_xray._write.page.columns import differences, fold, planes
from hypothesis import given
from hypothesis import strategies as st


def unpacked(content, count, size):
    return [sum(content[plane * size + k] << (8 * plane) for plane in range(count)) for k in range(size)]


@given(st.lists(st.integers(0, 2**63 - 1)))
def test_numbers_are_restored_from_planes(values):
    content, count = planes(values)
    assert unpacked(content, count, len(values)) == values


@given(st.lists(st.integers(-(2**61), 2**61)))
def test_numbers_are_restored_from_differences(values):
    total, out = 0, []
    for step in differences(values):
        total += -(step + 1) // 2 if step % 2 else step // 2
        out.append(total)
    assert out == values


def test_signs_are_folded():
    assert [fold(value) for value in (0, -1, 1, -2, 2)] == [0, 1, 2, 3, 4]


def test_a_number_that_is_too_large_is_clamped():
    assert unpacked(*planes([2**80]), 1) == [2**63 - 1]


def test_only_needed_planes_are_stored():
    assert planes([1, 255]) == (b"\x01\xff", 1)
    assert planes([256])[1] == 2
    assert planes([]) == (b"", 0)


def test_steadily_growing_times_take_little_space():
    content, _ = planes(differences(range(0, 100_000_000, 1_000)))
    assert len(zlib.compress(content)) < 1_000
