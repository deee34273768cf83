"""A pipeline that polls, transforms and notifies; when something breaks at 3 in the morning, the
rows say what.

    python examples/inspectable_automation.py

You see a service that answers with an error twice. The step is tried again, each attempt is on
record with its error and its waiting time, and the notification goes out once although its step was
tried twice. Then the questions one asks the next morning: what happened, which attempts failed,
which calls were made.
"""

import asyncio
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from loom_runner import AgentRunner, Complete, Continue, RetryPolicy, RunContext, SQLiteStore, ToolRegistry

SENT: list[str] = []
requests = 0
tools = ToolRegistry()


@dataclass(frozen=True)
class State:
    """Where the pipeline stands: the stage, and what it carries."""

    stage: str = "poll"
    orders: tuple[int, ...] = ()
    total: int = 0


@tools.tool("poll", read_only=True)
async def poll() -> list[int]:
    """Ask the shop for new orders. It is not well tonight."""
    global requests  # noqa: PLW0603  (the state of a service that is not ours)
    requests += 1
    if requests < 3:
        raise ConnectionError(f"503 from the shop, request {requests}")
    return [120, 75, 300]


@tools.tool("notify", on_doubt="ask")
async def notify(text: str) -> str:
    """Send a message: it must not go out twice, so a doubt about it waits for a person."""
    SENT.append(text)
    return "sent"


async def step(state: State, ctx: RunContext) -> Continue[State] | Complete[int]:
    """Do one stage."""
    match state.stage:
        case "poll":
            return Continue(State("sum", orders=tuple(await ctx.call_tool("poll"))))
        case "sum":
            return Continue(State("notify", state.orders, sum(state.orders)))
    await ctx.call_tool("notify", text=f"{len(state.orders)} orders, {state.total} in all")
    if ctx.attempt == 0:
        raise TimeoutError("the log server did not answer")  # after the message went out: the attempt fails
    return Complete(state.total)


def build_runner(db_path: str) -> AgentRunner:
    """Put the step, its tools and a database together; the command line calls this."""
    retry = RetryPolicy(max_attempts=5, initial_s=0.05)
    return AgentRunner(step=step, store=SQLiteStore(db_path), tools=tools, retry=retry)


def initial_state() -> State:
    """Say where a new run begins."""
    return State()


def main() -> None:
    """Run the night, then ask the questions of the morning."""
    with tempfile.TemporaryDirectory() as folder:
        runner = build_runner(str(Path(folder) / "runs.sqlite"))
        asyncio.run(runner.start(run_id="night", initial_state=initial_state()))
        print(runner.explain_run("night"))
        print("\nevery try:")
        for row in runner.attempts("night"):
            error = f"{row['error']['type']}: {row['error']['message']}" if row["error"] else ""
            print(f"  step {row['step_index']}  try {row['attempt'] + 1}  {row['outcome']:<9} {error}".rstrip())
        print("\nevery call:")
        for row in runner.tool_calls("night"):
            print(f"  step {row['step_index']}  {row['name']:<7} x{row['tries']}  {json.dumps(row['result'])}")
        print(f"\nmessages that went out: {SENT}")
        runner.close()


if __name__ == "__main__":
    main()
