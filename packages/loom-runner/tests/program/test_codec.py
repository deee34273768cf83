from __future__ import annotations

import enum
import inspect
import json
from dataclasses import dataclass
from typing import Any

import pytest
from loom_runner import AgentRunner, Complete, SQLiteStore, ToolRegistry, UsageError
from loom_runner._program.codec import Codec, hints_of
from loom_runner._program.plain_json import canonical, json_text
from loom_runner.errors import StateError
from pydantic import BaseModel
from typing_extensions import TypedDict

pytestmark = pytest.mark.interpreter


@dataclass(frozen=True)
class Point:
    x: int
    tags: tuple[str, ...] = ()


class Model(BaseModel):
    x: int


class Level(enum.StrEnum):
    HIGH = "high"


class Record(TypedDict):
    x: int


@pytest.mark.parametrize(
    ("hint", "value"), [(Point, Point(1, ("a",))), (Model, Model(x=1)), (Record, {"x": 1}), (int, 3)]
)
def test_a_hinted_value_comes_back_as_it_was(hint, value):
    codec = Codec(hint, "the state")
    text, on = codec.encode(value)
    assert on == value
    assert codec.decode(text) == value


@pytest.mark.parametrize(
    ("hint", "value"), [(Point, {"x": 1}), (Point, Point("no")), (int, "no"), (Model, None), (Record, {"y": 1})]
)
def test_a_value_that_is_not_of_its_type_is_refused_when_it_is_written(hint, value):
    with pytest.raises(StateError, match="cannot store the state"):
        Codec(hint, "the state").encode(value)


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), Point(1), {"a": b"x"}])
def test_a_value_without_a_hint_must_be_plain_json(value):
    with pytest.raises(StateError, match="cannot store the state: it is not plain JSON"):
        Codec(Any, "the state").encode(value)


@pytest.mark.parametrize("hint", [inspect.Parameter.empty, Record])
def test_a_run_continues_with_the_decoded_copy(hint):
    given = {"x": 1}
    text, on = Codec(hint, "the state").encode(given)
    assert on == given
    assert on is not given
    assert text == '{"x":1}'


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": {"b": [0, (1, 2)]}}, r"a\['b'\]\[1\]: a tuple would come back as a list"),
        ({"a": {1: "one"}}, "a: a key is an int, and would come back as a string"),
        ({"a": [float("nan")]}, r"a\[0\]: nan is no number of JSON"),
        ([Level.HIGH], r"\[0\]: a Level would come back as a str"),
        ({"a": {1}}, "a: a set is no value of JSON"),
    ],
)
def test_a_value_without_a_hint_that_would_come_back_changed_is_refused_by_its_place(value, message):
    with pytest.raises(StateError, match=f"cannot store the state: it is not plain JSON \\({message}"):
        Codec(Any, "the state").encode(value)


@pytest.mark.parametrize(("hint", "text"), [(Point, '{"y": 1}'), (Point, "nonsense"), (Any, "{")])
def test_a_text_that_does_not_fit_is_an_error_that_keeps_it(hint, text):
    with pytest.raises(StateError, match="cannot read the state: what is stored does not fit") as caught:
        Codec(hint, "the state").decode(text)
    assert caught.value.raw == text


def test_a_hint_that_json_cannot_hold_is_refused_at_once():
    with pytest.raises(UsageError, match="cannot store the state: Socket cannot be written as JSON"):
        Codec(type("Socket", (), {}), "the state")


def test_canonical_texts_compare_regardless_of_order_and_spaces():
    assert canonical('{"b": 1, "a": [2]}') == canonical('{"a":[2],"b":1}')
    assert canonical('{"a":1}') != canonical('{"a":2}')


def test_hints_are_found_in_closures_and_missing_names_are_left_out():
    class Local:
        pass

    def function(a: Local, b: Missing, c: int) -> Local | None:  # noqa: F821
        return a

    hints = hints_of(function)
    assert hints["c"] is int
    assert "b" not in hints


def test_half_a_surrogate_pair_is_written_as_its_escape_and_comes_back():
    text = json_text({"name": "caf\udce9", "ä": "ö"})
    assert text.isascii()
    assert json.loads(text) == {"name": "caf\udce9", "ä": "ö"}
    assert json_text({"ä": "ö"}) == '{"ä":"ö"}'


def test_the_hashed_form_never_changes():
    assert json_text({"b": 1, "a": ["ä", None]}, is_hashed=True) == '{"a": ["ä", null], "b": 1}'


def test_a_run_may_handle_texts_that_are_not_unicode(go):
    tools = ToolRegistry()

    @tools.tool("list")
    async def files(name: str) -> str:
        return f"{name}-\udcff"

    async def step(state, ctx):
        return Complete(await ctx.call_tool("list", name=state))

    with SQLiteStore(":memory:") as store:
        result = go(AgentRunner(step=step, store=store, tools=tools).start(run_id="r", initial_state="\ud83d"))
        assert (result.status, result.result) == ("completed", "\ud83d-\udcff")
        assert [call.status for call in store.reader.tool_calls("r")] == ["done"]


LARGE = {"text": "said " * 5_000}


@pytest.mark.parametrize(
    "value",
    [
        {"n": 1, "f": 1.5, "big": 10**30, "s": "ä\u2028\n\\x00", "l": [None, True, {}], "e": 1e22},
        {"deep": [[[[[[]]]]]]},
        "\udcff",
    ],
)
def test_a_large_plain_value_is_written_and_read_back_as_a_small_one(value):
    small, large = Codec(inspect.Parameter.empty, "the state"), Codec(inspect.Parameter.empty, "the state")
    large.encode(LARGE)
    expected = json.loads(small.encode({"is": value, **LARGE})[0])
    text, on = large.encode({"is": value, **LARGE})
    assert json.loads(text) == expected == on


@pytest.mark.parametrize(
    "value",
    [float("inf"), float("nan"), {1, 2}, b"bytes", Point(1), Model(x=1), object(), (1, 2), {1: "one"}, Level.HIGH],
)
def test_a_large_value_that_is_not_plain_json_is_refused(value):
    codec = Codec(inspect.Parameter.empty, "the state")
    codec.encode(LARGE)
    with pytest.raises(StateError, match="cannot store the state: it is not plain JSON"):
        codec.encode({"is": value, **LARGE})


def test_a_large_decoded_value_shares_nothing_with_the_given_one():
    codec = Codec(inspect.Parameter.empty, "the state")
    codec.encode(LARGE)
    given = {"list": [1], **LARGE}
    _, on = codec.encode(given)
    given["list"].append(2)
    assert on["list"] == [1]
