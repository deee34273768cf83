import asyncio
import json
from pathlib import Path

import pytest
from loom_agents._errors import ScriptError
from loom_agents._models.messages import AssistantMessage, ToolCall, ToolMessage, Usage, UserMessage
from loom_agents._models.protocol import ModelReply, ModelRequest
from loom_agents._models.scripted import ScriptedModel

HELLO = ModelRequest("be kind", (UserMessage("hello"),))


def _ask(model: ScriptedModel, request: ModelRequest = HELLO) -> tuple[ModelReply, list[str]]:
    pieces: list[str] = []
    return asyncio.run(model.request(request, on_delta=pieces.append)), pieces


def test_the_text_is_streamed_in_pieces_that_make_up_the_whole() -> None:
    reply, pieces = _ask(ScriptedModel(["  Hello,\n  you  there. "]))
    assert "".join(pieces) == reply.text == "  Hello,\n  you  there. "
    assert len(pieces) > 3


def test_the_position_is_read_from_the_conversation() -> None:
    script = [ModelReply("", (ToolCall("1", "grep"),)), "second"]
    later = ModelRequest(
        "",
        (UserMessage("hello"), AssistantMessage("", (ToolCall("1", "grep"),)), ToolMessage("1", "grep", "success", {})),
    )
    assert _ask(ScriptedModel(script), later)[0].text == "second"
    assert _ask(ScriptedModel(script))[0].finish_reason == "tool_calls"


def test_a_script_that_is_too_short_is_an_error() -> None:
    with pytest.raises(ScriptError, match="has 0 replies and this is request 1"):
        _ask(ScriptedModel([]))


def test_a_function_gets_the_request() -> None:
    reply, _ = _ask(ScriptedModel(lambda request: request.system.upper(), name="echo"))
    assert (reply.text, reply.model) == ("BE KIND", "echo")


def test_usage_is_estimated_unless_the_script_gives_it() -> None:
    assert _ask(ScriptedModel(["12345678"]))[0].usage == Usage(1, 3, 0, 2, 0.0)
    given = Usage(1, 7, 5, 3, 0.25)
    assert _ask(ScriptedModel([ModelReply("x", usage=given)]))[0].usage == given


SCRIPT = {
    "format": "loom-script/1",
    "replies": [
        {
            "text": "Looking.",
            "tool_calls": [{"name": "grep", "arguments": {"pattern": "x"}}, {"name": "grep", "arguments": "{"}],
        },
        {"text": "Found.", "usage": {"input_tokens": 10, "output_tokens": 2, "cost_usd": 0.5}},
        "Bye.",
    ],
}


def test_a_json_script_is_read(tmp_path: Path) -> None:
    (tmp_path / "demo.json").write_text(json.dumps(SCRIPT))
    model = ScriptedModel.from_file(tmp_path / "demo.json")
    reply, _ = _ask(model)
    assert model.name == "script:demo.json"
    assert reply.tool_calls == (ToolCall("call-1", "grep", {"pattern": "x"}), ToolCall("call-2", "grep", malformed="{"))


def test_a_yaml_script_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "demo.yaml").write_text(
        "format: loom-script/1\nreplies:\n- text: Hi\n  tool_calls: [{name: grep}]\n- Bye\n"
    )
    reply, _ = _ask(ScriptedModel.from_file(tmp_path / "demo.yaml"))
    assert (reply.text, reply.tool_calls[0].name) == ("Hi", "grep")


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("", "JSON"),
        ("[]", "top level"),
        ('{"format": "loom-script/2"}', "top level"),
        ('{"format": "loom-script/1"}', "replies"),
        ('{"format": "loom-script/1", "replies": []}', "replies"),
        ('{"format": "loom-script/1", "replies": [3]}', r"replies\[0\]"),
        ('{"format": "loom-script/1", "replies": [{}]}', r"replies\[0\]"),
        ('{"format": "loom-script/1", "replies": [{"txt": "x"}]}', "txt"),
        ('{"format": "loom-script/1", "replies": [{"text": 3}]}', r"replies\[0\].text"),
        ('{"format": "loom-script/1", "replies": [{"tool_calls": {}}]}', r"replies\[0\].tool_calls"),
        ('{"format": "loom-script/1", "replies": [{"tool_calls": [3]}]}', r"tool_calls\[0\]"),
        ('{"format": "loom-script/1", "replies": [{"tool_calls": [{}]}]}', r"tool_calls\[0\].name"),
        ('{"format": "loom-script/1", "replies": [{"tool_calls": [{"name": "a", "id": 1}]}]}', "id"),
        ('{"format": "loom-script/1", "replies": [{"tool_calls": [{"name": "a", "arguments": 1}]}]}', "arguments"),
        ('{"format": "loom-script/1", "replies": [{"text": "a", "usage": 1}]}', "usage"),
        ('{"format": "loom-script/1", "replies": [{"text": "a", "usage": {"input_tokens": -1}}]}', "usage"),
        ('{"format": "loom-script/1", "replies": [{"text": "a", "usage": {"input_tokens": true}}]}', "usage"),
        ('{"format": "loom-script/1", "replies": ["a"], "more": 1}', "more"),
    ],
)
def test_an_invalid_script_is_refused_with_the_place(tmp_path: Path, content: str, place: str) -> None:
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(ScriptError, match=place) as caught:
        ScriptedModel.from_file(tmp_path / "bad.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["missing.json", "folder", "latin.json", "bad.yaml"])
def test_a_file_that_is_not_a_script_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "latin.json").write_bytes(b"\xe9")
    (tmp_path / "bad.yaml").write_text("a: [\nb: {")
    with pytest.raises(ScriptError, match="cannot read the script") as caught:
        ScriptedModel.from_file(tmp_path / name)
    assert "\n" not in str(caught.value)
