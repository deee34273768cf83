"""Freezing: any value becomes plain, bounded JSON, at once and without running the user's code."""

import dataclasses
import enum
import json
import math
import uuid
from collections import OrderedDict, deque
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pytest
from flow_xray._redaction.freeze import Limits, freeze, freeze_arguments
from flow_xray._redaction.redactor import Redactor
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.interpreter


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Point:
    x: int
    api_key: str = "hidden-value"


class Pair(NamedTuple):
    left: int
    right: int


class Broken:
    def __repr__(self):
        raise RuntimeError("no repr today")


@pytest.mark.parametrize(
    ("value", "frozen"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (2**70, 2**70),
        (1.5, 1.5),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        ("text", "text"),
        (b"\x00\x01", "<2 bytes b'\\x00\\x01'>"),
        (Colour.RED, "Colour.RED"),
        (Decimal("1.10"), "1.10"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (datetime(2026, 11, 21, tzinfo=UTC), "2026-11-21 00:00:00+00:00"),
        (Path("a/b"), "a/b"),
        ((1, "a"), [1, "a"]),
        (deque([1, 2]), [1, 2]),
        (frozenset({3}), [3]),
        ({"a": {1: 2}}, {"a": {"1": 2}}),
        (OrderedDict(b=1), {"b": 1}),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (Pair(1, 2), {"left": 1, "right": 2}),
        (Point(3), {"x": 3, "api_key": "[redacted]"}),
        (len, "<builtin_function_or_method len>"),
        (Point, "<type Point>"),
    ],
)
def test_a_value_becomes_the_expected_json(value, frozen):
    assert freeze(value) == frozen


def test_keys_with_the_same_text_are_both_recorded():
    assert freeze({1: "number", "1": "text"}) == {"1": "number", "1 (str)": "text"}


def test_later_changes_do_not_affect_a_frozen_value():
    value = {"list": [1]}
    frozen = freeze(value)
    value["list"].append(2)
    assert frozen == {"list": [1]}


def test_a_repr_that_raises_is_described():
    assert freeze([Broken()]) == ["<Broken, whose repr raised RuntimeError>"]


def test_a_container_that_raises_while_it_is_read_is_described():
    class Moody(dict):
        def items(self):
            raise OSError("gone")

    assert freeze({"x": Moody(a=1)}) == {"x": "<Moody, which raised OSError while it was recorded>"}


def test_a_cycle_ends():
    value = [1]
    value.append(value)
    assert freeze(value) == [1, "<cycle: this list contains itself>"]


def test_the_same_value_twice_is_not_a_cycle():
    shared = [1]
    assert freeze([shared, shared]) == [[1], [1]]


def test_depth_has_a_limit_that_is_named():
    value = []
    for _ in range(100):
        value = [value]
    text = json.dumps(freeze(value))
    assert "not recorded: the value is too deep" in text


def test_a_huge_graph_costs_a_bounded_number_of_nodes():
    frozen = freeze([[1] * 100 for _ in range(100)], limits=Limits(max_nodes=500))
    assert json.dumps(frozen).count("too large") > 50


def test_a_long_text_keeps_head_and_tail_and_the_number_of_cut_characters():
    frozen = freeze("a" * 5_000_000 + "END", limits=Limits(max_string=100))
    assert frozen.startswith("a" * 75 + " … [4,999,903 characters cut] … ")
    assert frozen.endswith("END")


def test_a_secret_across_the_cut_does_not_survive_in_halves():
    secret = "sk-" + "x1Y2z3" * 6
    for offset in range(60, 90):
        text = "a " * (offset // 2) + secret + " b" * 10_000
        assert "x1Y2z3" not in freeze(text, limits=Limits(max_string=100))
        assert "x1Y2z3" not in freeze(text[::-1].replace(secret[::-1], secret), limits=Limits(max_string=100))


def test_long_collections_keep_head_and_tail():
    frozen = freeze(list(range(100)), limits=Limits(max_items=8))
    assert frozen == [0, 1, 2, 3, 4, 5, "… [92 items cut] …", 98, 99]
    assert freeze({str(n): n for n in range(10)}, limits=Limits(max_items=2)) == {
        "0": 0,
        "1": 1,
        "…": "[8 more keys cut]",
    }


def test_an_enormous_number_is_not_printed_in_full():
    assert freeze(1 << 1_000_000) == "<int of 1,000,001 bits>"


def test_lone_surrogates_survive_as_json():
    assert json.loads(json.dumps(freeze("\ud800"))) == "\ud800"


def test_arguments_freeze_as_a_dict_would():
    redactor = Redactor()
    names, values = ("a", "password", "text", "items"), (1, "hunter22", "x", [1, None])
    expected = freeze(dict(zip(names, values, strict=True)), redactor)
    assert freeze_arguments(names, values, redactor) == expected
    assert freeze_arguments(names, values, redactor) == expected  # the second time by the short way


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=4) | st.tuples(inner),
    max_leaves=12,
)  # fmt: skip


@given(anything)
def test_a_frozen_value_is_strict_json_and_freezing_it_again_changes_nothing(value):
    frozen = freeze(value, Redactor())
    assert json.loads(json.dumps(frozen, allow_nan=False)) == frozen
    assert freeze(frozen, Redactor()) == frozen


def test_a_class_that_raises_when_it_is_inspected_is_described():
    class Hidden:
        @property
        def __class__(self):
            raise RuntimeError("gone")

    assert freeze(Hidden()) == "<Hidden, which raised RuntimeError while it was recorded>"
    assert freeze({"a": [Hidden(), 1]})["a"][1] == 1


def test_a_pydantic_model_is_recorded_by_its_fields_without_secrets():
    pydantic = pytest.importorskip("pydantic")

    class Settings(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="allow")
        host: str
        api_key: str
        secret: pydantic.SecretStr
        hidden: str = pydantic.Field(repr=False)

    frozen = freeze(Settings(host="h", api_key="abc-123-def", secret="abc-456-def", hidden="abc-789-def", more=[1]))
    assert frozen == {
        "host": "h",
        "api_key": "[redacted]",
        "secret": "[redacted]",
        "hidden": "<not recorded: repr=False>",
        "more": [1],
    }
