"""An agent that is killed in the middle of its work and goes on as if nothing had happened.

    python examples/resumable_agent.py

You see two processes. The first is killed (kill -9) while the agent calls a tool for the third
time. The second resumes from the last committed step: no step is lost, no recorded call is made
again. Then `explain` tells what happened. The model is a script, so nothing goes over a network;
put a real one into `think`.

From the command line, in your own time:

    loom-runner run examples/resumable_agent.py --run-id trip        (kill it, or press Ctrl-C)
    loom-runner resume trip
    loom-runner explain trip
"""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from loom_runner import AgentRunner, Complete, Continue, Durability, RunContext, SQLiteStore, ToolRegistry

PLAN = ("Lisbon", "Porto", "Faro")
WEATHER = {"Lisbon": "sunny", "Porto": "rainy", "Faro": "hot"}
tools = ToolRegistry()


@dataclass(frozen=True)
class State:
    """What the agent knows: the conversation so far."""

    question: str
    lines: tuple[str, ...] = ()


def think(state: State) -> str:
    """Stand for a model: ask for the weather of one city after the other, then answer."""
    if len(state.lines) < len(PLAN):
        return f"weather {PLAN[len(state.lines)]}"
    dry = [line.split(":")[0] for line in state.lines if "rainy" not in line]
    return f"Go to {' or '.join(dry)}."


@tools.tool("weather", read_only=True)
async def weather(city: str) -> str:
    """Ask a weather service. Read-only, so it may be asked again when nobody knows whether it
    answered.
    """
    print(f"  process {os.getpid()} asks for the weather in {city}", flush=True)
    if city == os.environ.get("KILL_AT"):
        os.kill(os.getpid(), signal.SIGKILL)
    await asyncio.sleep(0.05)
    return WEATHER[city]


async def step(state: State, ctx: RunContext) -> Continue[State] | Complete[str]:
    """Let the model speak once, and do what it asks for."""
    said = think(state)
    if not said.startswith("weather "):
        return Complete(said)
    city = said.removeprefix("weather ")
    answer = await ctx.call_tool("weather", city=city)
    return Continue(replace(state, lines=(*state.lines, f"{city}: {answer}")))


def initial_state() -> State:
    """Say where a new run begins."""
    return State("Where is it dry?")


def build_runner(db_path: str, durability: Durability = "power") -> AgentRunner:
    """Put the step, its tools and a database together; the command line calls this."""
    return AgentRunner(step=step, store=SQLiteStore(db_path, durability), tools=tools)


def main() -> None:
    """Run in a process that is killed, resume in another one, and tell the story."""
    with tempfile.TemporaryDirectory() as folder:
        db = str(Path(folder) / "runs.sqlite")
        command = [sys.executable, "-m", "loom_runner", "run", __file__, "--run-id", "trip", "--db", db]
        command += ["--output", "text"]  # with JSON, what the agent prints would go to stderr
        killed = subprocess.run(command, env={**os.environ, "KILL_AT": "Faro"}, check=False)
        print(f"the first process ended with {killed.returncode} (that is kill -9)")
        runner = build_runner(db)
        result = asyncio.run(runner.resume(run_id="trip"))
        print(f"the second one answers: {result.result}\n")
        print(runner.explain_run("trip"))
        runner.close()


if __name__ == "__main__":
    main()
