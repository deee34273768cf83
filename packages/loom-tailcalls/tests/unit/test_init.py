"""The public names are few, sorted, documented, and loaded at their first use."""

import loom
import pytest


def test_the_public_names_are_sorted_and_documented():
    assert loom.__all__ == sorted(loom.__all__)
    for name in loom.__all__:
        assert getattr(loom, name).__doc__


def test_lazy_names_are_listed_and_found():
    assert set(loom.__all__) <= set(dir(loom))
    assert loom.transition is loom.transition


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'loom' has no attribute 'nothing'"):
        loom.nothing
