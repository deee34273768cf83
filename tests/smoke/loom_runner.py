"""Run a step agent on SQLite, kill the process inside a step, resume it, and explain what
happened.
"""

import json
import signal
import subprocess
import sys
from pathlib import Path

COMMAND = str(Path(sys.executable).parent / "loom-runner")
AGENT = """
import os, signal
from dataclasses import dataclass
from pathlib import Path
from loom import tailrec
from loom_runner import AgentRunner, Complete, Continue, RunContext, SQLiteStore, ToolRegistry

tools = ToolRegistry()


@dataclass(frozen=True)
class State:
    current: int = 0


@tools.tool("add", idempotent=True)
async def add(number: int) -> int:
    with open("calls.txt", "a") as calls:
        calls.write(f"{number}\\n")
    return number + 1


async def step(state: State, ctx: RunContext) -> Continue[State] | Complete[int]:
    if state.current == 5:
        return Complete(state.current)
    following = State(await ctx.call_tool("add", number=state.current))
    if state.current == 2 and not Path("killed").exists():
        Path("killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return Continue(following)


def initial_state() -> State:
    return State()


def build_runner(db_path: str) -> AgentRunner:
    return AgentRunner(step=step, store=SQLiteStore(db_path), tools=tools)


@tailrec
async def agent_loop(page: int, seen: list[int]) -> list[int]:
    if page == 3:
        return seen
    return await agent_loop(page + 1, [*seen, page * page])
"""


def run(*words: str, code: int = 0) -> str:
    ended = subprocess.run([COMMAND, *words], capture_output=True, text=True, check=False)
    assert ended.returncode == code, (words, ended)
    return ended.stdout


def main() -> None:
    Path("counter.py").write_text(AGENT)
    run("run", "counter.py", "--run-id", "demo", code=-signal.SIGKILL)
    assert json.loads(run("resume", "counter.py", "--run-id", "demo"))["result"] == 5
    assert Path("calls.txt").read_text().split() == ["0", "1", "2", "3", "4"]  # the recorded call was not repeated
    explained = run("explain", "--run-id", "demo", "--output", "text")
    assert "process" in explained and "completed" in explained, explained
    run("trace", "demo", "--html", "demo.html")
    assert Path("demo.html").stat().st_size > 10_000
    run("verify")

    run("run", "counter.py:agent_loop", "--run-id", "loop", "--input", '{"page": 0, "seen": []}')
    assert json.loads(run("get", "loop"))["result"] == [0, 1, 4]


main()
