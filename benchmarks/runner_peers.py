"""The runner beside LangGraph's SQLite saver and DBOS on SQLite: the same scenario, each in a
process of its own.

    python benchmarks/runner_peers.py                  installs the peers into a temporary environment, then the table
    python benchmarks/runner_peers.py --steps 200      shorter
    python benchmarks/runner_peers.py --python PATH    an environment that has the peers already
    python benchmarks/runner_peers.py --json

The scenario: a loop of a few hundred steps over a tiny state, each step stored before the next
begins; a conversation that grows by 768 bytes a turn; and a tool whose process is killed (kill -9)
between its effect and its record. Each program is written as its own guide writes it: LangGraph as
a graph of one node with `durability="sync"`, DBOS as a workflow of steps. What a stored step
survives differs, and the table says it. The effects of the killed tool are counted in a file: what
happened twice without anybody being asked is in the table.

Without a package index the peers' rows say so, and ours are measured alone. It never fails: nothing
here is a bar.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import textwrap
import venv
from pathlib import Path
from typing import Any

PACKAGES = ("langgraph", "langgraph-checkpoint-sqlite", "dbos")

COMMON = """
import asyncio, json, os, random, signal, sys, time
from pathlib import Path

WHAT, FOLDER, COUNT = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
WORDS = [f"{number:x}" for number in range(4096, 12_000)]

def text_of(turn):
    return " ".join(random.Random(turn).choices(WORDS, k=200))[:768]

def effect():
    with (FOLDER / "effects.txt").open("a") as file:
        file.write("charged\\n")
    if not (FOLDER / "died").exists():
        (FOLDER / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)

def size_mb():
    return sum(path.stat().st_size for path in FOLDER.iterdir() if "sqlite" in path.name) / 1e6
"""

OURS = """
from loom_runner import AgentRunner, Complete, Continue, RunContext, SQLiteStore, ToolRegistry

DURABILITY = sys.argv[4]
tools = ToolRegistry()

@tools.tool("charge")
async def charge() -> str:
    effect()
    return "done"

async def count(state: dict, ctx: RunContext) -> Continue | Complete:
    return Complete(state["n"]) if state["n"] >= COUNT else Continue({"n": state["n"] + 1})

async def turn(state: dict, ctx: RunContext) -> Continue | Complete:
    if len(state["messages"]) >= COUNT:
        return Complete(None)
    return Continue({"messages": [*state["messages"], text_of(len(state["messages"]))]})

async def pay(state: dict, ctx: RunContext) -> Complete:
    return Complete(await ctx.call_tool("charge"))

program, state = {"steps": (count, {"n": 0}), "chat": (turn, {"messages": []}), "kill": (pay, {})}[WHAT]
runner = AgentRunner(step=program, store=SQLiteStore(FOLDER / "runs.sqlite", DURABILITY), tools=tools)
started = time.perf_counter()
result = asyncio.run(runner.start(run_id="r", initial_state=state))
took = time.perf_counter() - started
ends = {"waiting": "parked: a person is asked"}.get(result.status, result.status)
runner.close()
print(json.dumps({"took_s": took, "size_mb": size_mb(), "ends": ends}))
"""

LANGGRAPH = """
from typing import Any, TypedDict
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph

class State(TypedDict):
    n: int
    messages: list[str]

def count(state):
    return {"n": state["n"] + 1}

def turn(state):
    return {"n": state["n"] + 1, "messages": [*state["messages"], text_of(state["n"])]}

def pay(state):
    effect()
    return {"n": COUNT}

graph = StateGraph(State)
graph.add_node("step", {"steps": count, "chat": turn, "kill": pay}[WHAT])
graph.add_edge(START, "step")
graph.add_conditional_edges("step", lambda state: END if state["n"] >= COUNT else "step")
with SqliteSaver.from_conn_string(str(FOLDER / "runs.sqlite")) as saver:
    app = graph.compile(checkpointer=saver)
    config = {"configurable": {"thread_id": "r"}, "recursion_limit": COUNT + 10}
    known = saver.get_tuple(config)
    started = time.perf_counter()
    app.invoke(None if known else {"n": 0, "messages": []}, config, durability="sync")
    took = time.perf_counter() - started
print(json.dumps({"took_s": took, "size_mb": size_mb(), "ends": "completed"}))
"""

DBOS = """
import logging
from dbos import DBOS, SetWorkflowID
DBOS(config={"name": "bench", "system_database_url": f"sqlite:///{FOLDER / 'runs.sqlite'}", "run_admin_server": False,
             "log_level": "ERROR"})

@DBOS.step()
def count(n):
    return n + 1

@DBOS.step()
def turn(messages):
    return [*messages, text_of(len(messages))]

@DBOS.step()
def charge():
    effect()
    return "done"

@DBOS.workflow()
def steps():
    n = 0
    while n < COUNT:
        n = count(n)
    return n

@DBOS.workflow()
def chat():
    messages = []
    while len(messages) < COUNT:
        messages = turn(messages)
    return len(messages)

@DBOS.workflow()
def kill():
    return charge()

DBOS.launch()
started = time.perf_counter()
with SetWorkflowID("r"):
    {"steps": steps, "chat": chat, "kill": kill}[WHAT]()
took = time.perf_counter() - started
DBOS.destroy()
print(json.dumps({"took_s": took, "size_mb": size_mb(), "ends": "completed"}))
"""

PROGRAMS = (
    ("loom-runner, power", OURS, ["power"], "the loss of power (WAL, FULL)"),
    ("loom-runner, process", OURS, ["process"], "kill -9 (WAL, NORMAL)"),
    ("LangGraph, SqliteSaver", LANGGRAPH, [], "the loss of power (WAL, FULL)"),
    ("DBOS on SQLite", DBOS, [], "the loss of power (rollback journal)"),
)


def run(python: str, source: str, what: str, *, count: int, more: list[str], folder: Path) -> dict[str, Any]:
    """Run one program in a process of its own; what it printed, or why it did not."""
    script = folder.parent / "program.py"
    script.write_text(COMMON + source, "utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [python, str(script), what, str(folder), str(count), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=900)
    if done.returncode == -9:
        return {"killed": True}
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return {"error": (done.stderr.strip().splitlines() or ["it printed nothing"])[-1][:100]}
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def measured(python: str, source: str, more: list[str], steps: int, turns: int) -> dict[str, Any]:
    """All figures of one program."""
    row: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        for what, count in (("steps", steps), ("chat", turns), ("kill", 1)):
            folder = Path(name) / what
            folder.mkdir()
            found = run(python, source, what, count=count, more=more, folder=folder)
            if what == "kill" and found.get("killed"):
                found = run(python, source, what, count=count, more=more, folder=folder)
                found["effects"] = len((folder / "effects.txt").read_text("utf-8").splitlines())
            if "error" in found:
                return {"error": found["error"]}
            row[what] = found
    return {
        "step_us": row["steps"]["took_s"] / steps * 1e6,
        "chat_s": row["chat"]["took_s"],
        "chat_mb": row["chat"]["size_mb"],
        "after_kill": f"{row['kill']['effects']} effects, {row['kill']['ends']}",
    }


def peers_in(folder: Path) -> tuple[str | None, str]:
    """Make an environment with the peers; its Python, or why there is none."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return None, (done.stderr.strip().splitlines() or ["pip failed"])[-1][:100]
    return str(python), ""


def versions(python: str) -> str:
    """Name what was measured."""
    code = "import importlib.metadata as m, sys; print(', '.join(f'{n} {m.version(n)}' for n in sys.argv[1:]))"
    done = subprocess.run([python, "-c", code, *PACKAGES], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "versions unknown"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=500, help="of the loop")
    parser.add_argument("--turns", type=int, default=200, help="of the conversation")
    parser.add_argument("--python", help="a Python that has the peers")
    parser.add_argument("--json", action="store_true", help="one JSON value")
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        python, why_not = (given.python, "") if given.python else peers_in(Path(name) / "peers")
        if not given.json:
            print(versions(python) if python else f"the peers are not measured: {why_not}")
            print(f"{'':<24}{'a step':>10}{'chat':>9}{'database':>11}   {'killed in a tool':<38} a step survives")
        for title, source, more, survives in PROGRAMS:
            own = source is OURS
            if not own and python is None:
                row: dict[str, Any] = {"error": why_not}
            else:
                row = measured(sys.executable if own else str(python), source, more, given.steps, given.turns)
            rows.append({"name": title, "survives": survives} | row)
            if given.json:
                continue
            if "error" in row:
                print(f"{title:<24}not measured: {row['error']}")
                continue
            shown = f"{row['step_us']:,.0f} us".rjust(10) + f"{row['chat_s']:.2f} s".rjust(9)
            print(f"{title:<24}{shown}{row['chat_mb']:8.1f} MB   {row['after_kill']:<38} {survives}", flush=True)
    if given.json:
        print(json.dumps(rows, indent=2))
    else:
        print(
            textwrap.fill(
                f"a step: {given.steps} steps of a tiny state. chat, database: {given.turns} turns of 768 bytes. "
                "killed in a tool: kill -9 between effect and record; then the same program is started again.",
                110,
            )
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
