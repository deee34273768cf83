import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loom_agents._errors import MessageFormatError
from loom_agents._models.messages import (
    AssistantMessage,
    Message,
    ToolCall,
    ToolMessage,
    Usage,
    UserMessage,
    dump_messages,
    load_messages,
    renumbered,
    storable,
)

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_json = st.recursive(st.none() | st.booleans() | st.integers() | _text, lambda x: st.lists(x, max_size=3), max_leaves=5)
_calls = st.builds(ToolCall, _text, _text, st.dictionaries(_text, _json, max_size=3), st.none() | _text)
_messages = st.one_of(
    st.builds(UserMessage, _text),
    st.builds(
        AssistantMessage, _text, st.lists(_calls, max_size=3).map(tuple), _text, st.sampled_from(["stop", "length"])
    ),
    st.builds(ToolMessage, _text, _text, st.sampled_from(["success", "failed", "denied", "interrupted"]), _json),
)


@given(st.lists(_messages, max_size=6).map(tuple))
def test_a_conversation_reads_back_from_json_as_it_was(messages: tuple[Message, ...]) -> None:
    assert load_messages(json.loads(json.dumps(dump_messages(messages)))) == messages


@pytest.mark.parametrize("data", [None, [], {}, {"format": "loom-messages/2", "messages": []}, "x"])
def test_another_format_is_refused_and_named(data: object) -> None:
    with pytest.raises(MessageFormatError, match="loom-messages/1"):
        load_messages(data)


@pytest.mark.parametrize(
    "messages", [None, [{}], [{"role": "robot"}], ["x"], [{"role": "user"}], [{"role": "assistant"}]]
)
def test_a_damaged_conversation_is_refused(messages: object) -> None:
    with pytest.raises(MessageFormatError, match="damaged"):
        load_messages({"format": "loom-messages/1", "messages": messages})


@pytest.mark.parametrize(
    "arguments", ["{", "[1]", '"x"', "nope", '{"a": NaN}', '{"a": "\\ud800"}', "[" * 100_000, "1", "null"]
)
def test_arguments_that_are_not_a_json_object_are_kept_as_malformed(arguments: str) -> None:
    call = ToolCall.parse("1", "grep", arguments)
    assert call.malformed == arguments
    assert call.arguments == {}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [("", {}), (None, {}), ('{"a": 1}', {"a": 1}), ({"a": [1]}, {"a": [1]})],
)
def test_arguments_come_as_text_or_as_an_object(arguments: str, expected: dict[str, object]) -> None:
    assert ToolCall.parse("1", "grep", arguments) == ToolCall("1", "grep", expected)


@given(
    st.lists(st.sampled_from(["a", "b", "", "a-2", "call"]), max_size=8), st.sets(st.sampled_from(["a", "b", "a-2"]))
)
def test_call_ids_are_unique_in_the_conversation_and_the_calls_otherwise_the_same(
    ids: list[str], taken: set[str]
) -> None:
    calls = [ToolCall(call_id, f"tool{index}") for index, call_id in enumerate(ids)]
    fresh = renumbered(calls, taken)
    assert len({call.id for call in fresh} | taken) == len(ids) + len(taken)
    assert [call.name for call in fresh] == [call.name for call in calls]
    assert all(call.id for call in fresh)


def test_unique_ids_are_not_changed() -> None:
    calls = (ToolCall("x", "a"), ToolCall("y", "b"))
    assert renumbered(calls, {"z"}) == calls


def test_usage_adds_up_and_an_unknown_price_stays_unknown() -> None:
    known = Usage(1, 100, 40, 10, 0.5)
    assert known + known == Usage(2, 200, 80, 20, 1.0)
    assert (known + Usage(1, 1, 0, 1, None) + known).cost_usd is None
    assert Usage.from_json(json.loads(json.dumps(known.to_json()))) == known
    assert known.total_tokens == 110


def test_half_of_a_surrogate_pair_is_replaced() -> None:
    assert storable("a\ud800b") == "a?b"
    assert storable("wörld 🐋") == "wörld 🐋"
