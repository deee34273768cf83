"""Messages in every form in use, read and written."""

import pytest
from flow_xray._otel.messages import (
    decoded,
    event_message,
    flat_messages,
    messages_of,
    unflattened,
    with_tool_names,
    written_message,
)


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ({"role": "user", "content": "hi"}, [{"type": "text", "content": "hi"}]),
        ({"role": "user", "content": ""}, []),
        ({"role": "user", "content": {"type": "text", "text": "hi"}}, [{"type": "text", "content": "hi"}]),
        ({"role": "user", "content": ["hi", 7]}, [{"type": "text", "content": "hi"}, {"type": "generic", "value": 7}]),
        (
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}, {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}}]},
            [{"type": "reasoning", "content": "hm"}, {"type": "tool_call", "id": "c", "name": "f", "arguments": {"a": 1}}],
        ),
        (
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "done"}]},
            [{"type": "tool_call_response", "id": "c", "response": "done"}],
        ),
        (
            {"role": "tool", "tool_call_id": "c", "content": "done"},
            [{"type": "tool_call_response", "id": "c", "response": "done"}],
        ),
        (
            {"role": "tool", "parts": [{"part_kind": "tool-return", "tool_call_id": "c", "content": "done"}]},
            [{"type": "tool_call_response", "id": "c", "response": "done"}],
        ),
        ({"role": "user", "parts": [{"kind": "user-prompt", "content": "hi"}]}, [{"type": "text", "content": "hi"}]),
        ({"role": "user", "parts": [{"type": "image", "url": "x"}]}, [{"type": "image", "url": "x"}]),
        ({"role": "user", "parts": [{"odd": 1}]}, [{"type": "generic", "odd": 1}]),
        (
            {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": '{"a": 1}'}}, 7]},
            [{"type": "tool_call", "id": "c", "name": "f", "arguments": {"a": 1}}],
        ),
        (
            {"role": "assistant", "tool_calls": [{"tool_call_id": "c", "tool_name": "f", "args": "a"}]},
            [{"type": "tool_call", "id": "c", "name": "f", "arguments": "a"}],
        ),
    ],
)  # fmt: skip
def test_a_message_of_any_provider_is_written_in_one_form(given, parts):
    assert written_message(given, "user") == {"role": given["role"], "parts": parts}


def test_a_response_without_a_role_gets_one_and_another_value_is_none():
    assert written_message("yes", "assistant") == {"role": "assistant", "parts": [{"type": "text", "content": "yes"}]}
    assert written_message({"text": "yes", "name": "m", "finish_reason": "stop"}, "assistant") == {
        "role": "assistant", "parts": [{"type": "text", "content": "yes"}], "finish_reason": "stop", "name": "m",
    }  # fmt: skip
    assert written_message({"score": 1}, "assistant") is None
    assert written_message(7, "assistant") is None


def test_a_list_of_messages_is_distinguished_from_other_json():
    message = {"role": "user", "content": "hi"}
    assert (
        messages_of([message])
        == messages_of({"messages": [message]})
        == messages_of('[{"role": "user", "content": "hi"}]')
    )
    assert messages_of(message) == [message]
    assert messages_of(['{"role": "user", "content": "hi"}']) == [message]
    for other in (None, "", "text", [], {}, [1], [{"a": 1}], '{"cut', 7):
        assert messages_of(other) == []


def test_flattened_attributes_become_lists_again_also_when_they_contradict_each_other():
    given = {"a.0.b": 1, "a.2.b.c": 3, "a.2.b": 2, "a.1": "x", "a.x.b": 4, "ab.0": 5, "a.10.b": 6}
    assert unflattened(given, "a") == [{"b": 1}, "x", {"b": {"c": 3}}, {"b": 6}]
    assert unflattened({"a.0": 1, "a.0.b": 2}, "a") == [{"b": 2}]
    assert unflattened({}, "a") == []


def test_an_image_and_unknown_parts_of_a_flattened_message_stay():
    given = {
        "m.0.message.role": "user",
        "m.0.message.contents.0.message_content.image.image.url": "https://x/y.png",
        "m.0.message.contents.1": "plain",
        "m.1": "no message",
        "m.2.message.tool_calls.0": "no call",
        "m.3.message.tool_calls.0.tool_call": "no call",
    }
    first, *rest = flat_messages(given, "m")
    assert first["content"] == [{"type": "image", "image": {"url": "https://x/y.png"}}, "plain"]
    assert rest == [
        {"role": "user", "tool_calls": []},
        {"role": "user", "tool_calls": [{"id": None, "name": None, "arguments": None}]},
    ]


@pytest.mark.parametrize(
    ("name", "attributes", "message"),
    [
        ("gen_ai.user.message", {"content": "hi"}, {"role": "user", "content": "hi"}),
        ("gen_ai.user.message", {"gen_ai.event.content": '{"content": "hi"}'}, {"role": "user", "content": "hi"}),
        ("gen_ai.tool.message", {"id": "c", "content": "done", "name": "f"}, {"role": "tool", "content": "done", "tool_call_id": "c", "name": "f"}),
        ("gen_ai.choice", {"message": {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]}},
         {"role": "assistant", "tool_calls": [{"id": "c", "name": "f", "arguments": {}}]}),
        ("gen_ai.content.prompt", {"gen_ai.prompt": "hi"}, {"role": "user", "content": "hi"}),
        ("something else", {"content": "hi"}, None),
    ],
)  # fmt: skip
def test_an_event_of_the_older_conventions_is_a_message(name, attributes, message):
    assert event_message(name, attributes) == message


def test_a_result_that_only_has_the_id_of_its_call_gets_the_name_of_its_tool():
    call = {"role": "assistant", "tool_calls": [{"id": "c", "name": "f", "arguments": {}}]}
    result = {"role": "tool", "tool_call_id": "c", "content": "done"}
    other = {"role": "tool", "tool_call_id": "d", "content": "done"}
    assert with_tool_names([call, result, other, "odd"]) == [call, {**result, "name": "f"}, other, "odd"]
    parts = {"role": "assistant", "parts": [{"type": "tool_call", "id": "c", "name": "f"}, "odd"], "tool_calls": 7}
    assert with_tool_names([parts, {**result, "name": "g"}])[1]["name"] == "g"


def test_text_that_is_not_json_is_unchanged():
    assert decoded('{"a": 1}') == {"a": 1}
    for value in ("{cut", "text", "7", 7, None):
        assert decoded(value) == value
