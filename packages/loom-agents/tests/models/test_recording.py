import asyncio
import json
from pathlib import Path

import pytest
from loom_agents import (
    ModelReply,
    ModelRequest,
    RecordingModel,
    ScriptedModel,
    ScriptError,
    ToolCall,
    Usage,
    UserMessage,
)
from loom_agents._models.messages import AssistantMessage

REPLIES = [
    ModelReply(
        "Looking.",
        (ToolCall("a", "grep", {"pattern": "x"}), ToolCall("b", "grep", malformed="{")),
        Usage(1, 9, 3, 2, 0.5),
    ),
    ModelReply("Done.", usage=Usage(1, 5, 0, 1, 0.0)),
]


def _converse(model: RecordingModel | ScriptedModel, first: int = 0) -> list[ModelReply]:
    replies = []
    spoken = tuple(AssistantMessage("") for _ in range(first))
    for _ in REPLIES[first:]:
        request = ModelRequest("", (UserMessage("hi"), *spoken))
        replies.append(asyncio.run(model.request(request, on_delta=lambda text: None)))
        spoken = (*spoken, AssistantMessage(""))
    return replies


def test_a_recording_is_a_script_with_the_same_replies(tmp_path: Path) -> None:
    original = _converse(RecordingModel(ScriptedModel(REPLIES), tmp_path / "r.json"))
    again = _converse(ScriptedModel.from_file(tmp_path / "r.json"))
    assert [(r.text, r.tool_calls, r.usage) for r in again] == [(r.text, r.tool_calls, r.usage) for r in original]
    assert json.loads((tmp_path / "r.json").read_text())["format"] == "loom-script/1"


def test_a_resumed_run_continues_the_recording_of_the_killed_one(tmp_path: Path) -> None:
    whole = tmp_path / "whole.json"
    _converse(RecordingModel(ScriptedModel(REPLIES), whole))
    parts = tmp_path / "parts.json"
    first = RecordingModel(ScriptedModel(REPLIES), parts)
    asyncio.run(first.request(ModelRequest("", (UserMessage("hi"),)), on_delta=lambda text: None))
    _converse(RecordingModel(ScriptedModel(REPLIES), parts), first=1)
    assert parts.read_text() == whole.read_text()


def test_a_recording_of_another_conversation_is_replaced(tmp_path: Path) -> None:
    _converse(RecordingModel(ScriptedModel(REPLIES), tmp_path / "r.json"))
    model = RecordingModel(ScriptedModel(["other"]), tmp_path / "r.json")
    asyncio.run(model.request(ModelRequest("", (UserMessage("hi"),)), on_delta=lambda text: None))
    assert len(json.loads((tmp_path / "r.json").read_text())["replies"]) == 1


def test_a_conversation_that_was_not_recorded_from_its_beginning_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match="from its beginning"):
        _converse(RecordingModel(ScriptedModel(REPLIES), tmp_path / "r.json"), first=1)


def test_a_file_that_is_not_a_script_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text("{}")
    with pytest.raises(ScriptError, match="top level"):
        RecordingModel(ScriptedModel([]), tmp_path / "notes.json")
    with pytest.raises(ScriptError, match="no such folder"):
        RecordingModel(ScriptedModel([]), tmp_path / "none" / "r.json")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(ScriptError, match="cannot read"):
        RecordingModel(ScriptedModel([]), tmp_path / "folder.json")
