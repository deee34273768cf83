"""An agent that is killed at any point ends like an uninterrupted one."""

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

AGENT = """
import asyncio, json, os, signal, sys
from pathlib import Path
from loom_agents import *
from loom_runner import SQLiteStore, Tool, ToolRegistry, ToolFailed

DIE_AT, DIE_IN, ON_DOUBT = int(sys.argv[1]), sys.argv[2], sys.argv[3]
seen = 0

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def observer(event):
    global seen
    seen += 1
    if seen == DIE_AT:
        die()

def effect(tool):
    async def act(idempotency_key, text="-"):
        with open("effects", "a") as file:
            file.write(json.dumps([tool, text, idempotency_key]) + "\\n")
        if tool == DIE_IN and not Path("died").exists():
            Path("died").touch()
            die()
        return {"tool": tool, "text": text}
    return act

tools = ToolRegistry()
for name in ("one", "two", "three"):
    tools.add(Tool(name=name, function=effect(name), input_schema={"type": "object"}, on_doubt=ON_DOUBT))

script = ScriptedModel([
    ModelReply("first", (ToolCall("a", "one", {"text": "x"}), ToolCall("b", "two"))),
    ModelReply("then", (ToolCall("a", "three"), ToolCall("c", "missing"), ToolCall("d", "one", malformed="{"))),
    ModelReply("done"),
])
store = SQLiteStore("runs.sqlite", durability="process")
runner = build_agent_runner(Coordinator(script, tools), tools, store, name="agent", observers=[observer])
state = AgentState().with_user("go")
result = asyncio.run(runner.start(run_id="r", initial_state=state.to_json()))
print(json.dumps({"state": result.state, "wait": result.wait, "steps": result.step_index, "events": seen}))
"""


def _run(folder: Path, die_at: int = 0, die_in: str = "-", on_doubt: str = "retry") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", AGENT, str(die_at), die_in, on_doubt]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def _effects(folder: Path) -> list[list[str]]:
    return [json.loads(line) for line in (folder / "effects").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.uncovered
def test_killed_at_every_event_the_run_ends_the_same_and_no_effect_happens_twice(tmp_path: Path) -> None:
    (tmp_path / "undisturbed").mkdir()
    wanted = json.loads(_run(tmp_path / "undisturbed").stdout)
    effects = sorted(_effects(tmp_path / "undisturbed"))
    assert len(effects) == 3
    assert wanted["steps"] == 3
    for die_at in range(1, wanted["events"] + 1):
        folder = tmp_path / str(die_at)
        folder.mkdir()
        killed = _run(folder, die_at)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        ended = _run(folder)
        assert ended.returncode == 0, ended.stderr
        assert json.loads(ended.stdout) | {"events": 0} == wanted | {"events": 0}, f"killed at event {die_at}"
        assert sorted(_effects(folder)) == effects, f"killed at event {die_at}"


@pytest.mark.parametrize("tool", ["one", "two", "three"])
def test_a_tool_that_took_effect_before_the_kill_is_repeated_with_its_key_only(tmp_path: Path, tool: str) -> None:
    assert _run(tmp_path, die_in=tool).returncode == -signal.SIGKILL
    ended = _run(tmp_path)
    assert ended.returncode == 0, ended.stderr
    times = Counter(name for name, _, _ in _effects(tmp_path))
    others = {name: times[name] for name in ("one", "two", "three") if name != tool}
    assert times[tool] == 2
    # The two calls of the first reply run side by side: the other one may have been cut off too,
    # after its effect.
    assert all(count == 1 or (count == 2 and {name, tool} == {"one", "two"}) for name, count in others.items())
    assert len({key for name, _, key in _effects(tmp_path) if name == tool}) == 1


def test_a_tool_that_is_not_repeatable_is_answered_as_interrupted(tmp_path: Path) -> None:
    assert _run(tmp_path, die_in="three", on_doubt="fail").returncode == -signal.SIGKILL
    ended = _run(tmp_path, on_doubt="fail")
    assert Counter(name for name, _, _ in _effects(tmp_path)) == {"one": 1, "two": 1, "three": 1}
    messages = json.loads(ended.stdout)["state"]["conversation"]["messages"]
    assert [m["outcome"] for m in messages if m["role"] == "tool"] == [
        "success",
        "success",
        "interrupted",
        "failed",
        "failed",
    ]
    assert messages[-1]["text"] == "done"
