"""Random values of random types: each comes back as it went, or is refused."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import enum
import inspect
import json
import math
import uuid
from dataclasses import make_dataclass
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from loom_runner._program.codec import Codec
from loom_runner._program.compare import Comparison
from loom_runner.errors import StateEncodeError, UsageError
from pydantic import create_model
from typing_extensions import TypedDict


class Colour(enum.Enum):
    RED = "red"
    BLUE = 2


ZONES = st.sampled_from([None, dt.UTC, ZoneInfo("Europe/Berlin"), ZoneInfo("UTC"), dt.timezone(dt.timedelta(hours=3))])
TEXTS = st.text(st.characters(exclude_categories=()), max_size=5)
LEAVES: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(),
    float: st.floats() | st.integers(-(2**53), 2**53),
    bool: st.booleans(),
    str: TEXTS,
    bytes: st.binary(max_size=5),
    None: st.none(),
    Colour: st.sampled_from(Colour),
    uuid.UUID: st.uuids(),
    decimal.Decimal: st.decimals(),
    dt.datetime: st.datetimes(timezones=ZONES),
    dt.date: st.dates(),
    dt.time: st.times(timezones=ZONES),
    dt.timedelta: st.timedeltas(),
}
ANY_LEAF = st.one_of(*LEAVES.values())


def containers(parts: st.SearchStrategy[tuple[Any, Any]]) -> st.SearchStrategy[tuple[Any, Any]]:
    """Types made of other types, each with a strategy for its values."""

    def fields(pair: tuple[tuple[Any, Any], tuple[Any, Any]]) -> st.SearchStrategy[tuple[Any, Any]]:
        (a, of_a), (b, of_b) = pair
        data = make_dataclass("Data", [("a", a), ("b", b)])
        model = create_model("Model", a=(a, ...), b=(b, ...))
        typed = TypedDict("typed", {"a": a, "b": b})  # noqa: UP013  (its types are variables)
        return st.sampled_from(
            [
                (data, st.builds(data, of_a, of_b)),
                (model, st.builds(lambda a, b: model.model_construct(a=a, b=b), of_a, of_b)),
                (typed, st.fixed_dictionaries({"a": of_a, "b": of_b})),
                (a | b if a is not None or b is not None else None, of_a | of_b),
                (tuple[a, b], st.tuples(of_a, of_b)),
            ]
        )

    def collection(part: tuple[Any, Any]) -> st.SearchStrategy[tuple[Any, Any]]:
        hint, values = part
        hashable = values.filter(lambda each: isinstance(each, collections.abc.Hashable) and is_hashable(each))
        return st.sampled_from(
            [
                (list[hint], st.lists(values, max_size=3)),
                (tuple[hint, ...], st.lists(values, max_size=3).map(tuple)),
                (dict[str, hint], st.dictionaries(TEXTS, values, max_size=3)),
                (dict[hint, int], st.dictionaries(hashable, st.integers(), max_size=3)),
                (set[hint], st.sets(hashable, max_size=3)),
                (hint | None if hint is not None else None, values | st.none()),
            ]
        )

    return st.tuples(parts, parts).flatmap(fields) | parts.flatmap(collection)


def is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


HINTS = st.recursive(st.sampled_from(list(LEAVES.items())), containers, max_leaves=4)
WRONG = st.recursive(
    ANY_LEAF,
    lambda inner: (
        st.lists(inner, max_size=2) | st.lists(inner, max_size=2).map(tuple) | st.dictionaries(TEXTS, inner, max_size=2)
    ),
    max_leaves=4,
)


def check(hint: Any, value: Any) -> bool:
    """Store a value; return whether it was accepted."""
    try:
        codec = Codec(hint, "the state")
    except UsageError:
        return False
    try:
        text, on = codec.encode(value)
    except StateEncodeError as exc:
        assert str(exc).startswith("cannot store the state: ")  # noqa: PT017  (most values are accepted)
        return False
    read = codec.decode(text, is_resumed=True)
    for each in (on, read):
        assert Comparison().same(value, each), (hint, value, each)
        assert is_alike(value, each), (hint, value, each)
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    return True


def is_alike(one: Any, other: Any) -> bool:
    """Compare values in another way than the code that is tested: by what `repr` shows."""
    if isinstance(one, set | frozenset):
        return sorted(map(shown, one)) == sorted(map(shown, other))
    if isinstance(one, dict):
        pairs = zip(*(sorted(each.items(), key=lambda item: repr(item[0])) for each in (one, other)), strict=True)
        return all(is_alike(key, other_key) and is_alike(x, y) for (key, x), (other_key, y) in pairs)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and all(map(is_alike, one, other))
    if "{" in repr(one):  # the order of a set, deep inside
        return type(one) is type(other)
    return shown(one) == shown(other)


def shown(value: Any) -> str:
    """Return `repr` without folds, which say nothing where a time is not ambiguous
    (`test_comes_back` has those that are).
    """
    return repr(value).replace("fold=1, ", "")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_value_of_its_type_comes_back_or_is_refused(data):
    hint, values = data.draw(HINTS)
    assume(hint is not None)
    check(hint, data.draw(values))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_value_of_any_type_comes_back_or_is_refused(data):
    hint, _ = data.draw(HINTS)
    check(data.draw(st.sampled_from([hint, Any, object, dict[str, Any], inspect.Parameter.empty])), data.draw(WRONG))


@pytest.mark.parametrize("hint", [each for each in LEAVES if each is not None], ids=str)
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_simple_types_lose_nothing(hint, data):
    value = data.draw(LEAVES[hint])
    is_half = isinstance(value, str) and json.loads(json.dumps(value)) != value
    is_ambiguous = getattr(value, "fold", 0) == 1
    is_signalling = isinstance(value, decimal.Decimal) and value.is_nan()
    assert check(hint, value) or is_half or is_ambiguous or is_signalling


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_plain_json_needs_no_hint(value):
    assert check(inspect.Parameter.empty, value) or has_odd_number(value)


def has_odd_number(value: Any) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(map(has_odd_number, parts)) or (isinstance(value, float) and not math.isfinite(value))
