"""All JSON output matches the published schema."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

Run = Callable[..., Any]
FILE = Path(__file__).parents[4] / "docs" / "schemas" / "loom-run.json"
pytestmark = pytest.mark.skipif(not FILE.exists(), reason="the tests run alone, without the documentation")
EDIT = {"name": "edit_file", "arguments": {"path": "README.md", "old": "about whales", "new": "about seals"}}
LOOK = {"name": "list_files", "arguments": {}}
BAD = {"name": "read_file", "arguments": '{"path": '}
ASK = {"name": "ask_user", "arguments": {"question": "Which?"}}


def calling(*calls: dict[str, Any]) -> dict[str, Any]:
    return {"tool_calls": list(calls)}


def _check(value: Any, name: str | None = None) -> None:
    schema = json.loads(FILE.read_text())
    if name is not None:
        schema = {"$schema": schema["$schema"], "$defs": schema["$defs"], "$ref": f"#/$defs/{name}"}
    jsonschema.Draft202012Validator(schema).validate(value)


def test_the_schema_is_a_valid_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(FILE.read_text()))


@pytest.mark.parametrize(
    ("replies", "options", "status"),
    [
        (["one"], [], "answered"),
        ([calling(LOOK, BAD), "one"], [], "answered"),
        ([calling(EDIT), "one"], [], "approval"),
        ([calling(EDIT), "one"], ["--mode", "read-only"], "answered"),
        ([calling(ASK), "one"], [], "question"),
        ([calling(LOOK), "one"], ["--max-tokens", "1"], "limit"),
        ([calling(LOOK), "one"], ["--max-steps", "1"], "paused"),
        ([calling(LOOK)], [], "failed"),
    ],
)
@pytest.mark.parametrize("output", ["json", "jsonl"])
def test_every_ending_of_a_turn_matches_the_schema(
    loom_run: Run, script: Run, replies: list[Any], options: list[str], status: str, output: str
) -> None:
    ended = loom_run("chat", "x", "-r", "demo", script(*replies), *options, "--output", output)
    value = json.loads(ended.out if output == "json" else ended.out.splitlines()[-1])
    _check(value)
    assert (value["status"], value["exit_code"]) == (status, ended.code)
    _check(loom_run("resume", "demo", "--output", "json").json)
    _check(loom_run("show", "demo", "--output", "json").json, "show")
    _check(json.loads(loom_run("export", "demo", "--form", "json").out), "show")
    _check(loom_run("explain", "demo", "--output", "json").json, "explain")
    _check(loom_run("runs", "--output", "json").json, "runs")
    _check(loom_run("approvals", "--output", "json").json, "approvals")


def test_other_commands_match_the_schema(loom_run: Run, script: Run) -> None:
    _check(loom_run("doctor", "--output", "json").json, "doctor")
    _check(loom_run("supervise", "whales", "-r", "team", "--mock-llm", "--output", "json").json)
    _check(loom_run("show", "team", "--output", "json").json, "show")
    loom_run("chat", "x", "-r", "demo", script(calling(EDIT), "one"))
    loom_run("deny", "demo", "--note", "no")
    _check(loom_run("resume", "demo", "--output", "json").json)
    _check(loom_run("approvals", "--all", "--output", "json").json, "approvals")


@pytest.mark.parametrize(
    "arguments", [["chat", "hi"], ["resume", "nobody"], ["chat", "", "--mock-llm"], ["supervise", "x", "--model", "a"]]
)
def test_every_failure_matches_the_schema(loom_run: Run, arguments: list[str]) -> None:
    ended = loom_run(*arguments, "--output", "json")
    _check(ended.json)
    assert ended.json["exit_code"] == ended.code != 0


def test_other_json_does_not_match_the_schema(loom_run: Run, script: Run) -> None:
    value = loom_run("chat", "x", "-r", "demo", script("one"), "--output", "json").json
    for wrong in ({"status": "done"}, {"exit_code": 9}, {"more": 1}, {"usage": {}}):
        with pytest.raises(jsonschema.ValidationError):
            _check(value | wrong)
