"""A gate for changes of prompts, models and code: a scenario is run and compared with a golden run.

    python examples/regression_lab.py           shows it: the same run passes, a changed prompt fails, readably
    pytest examples/regression_lab.py           as a gate in CI; `pytest --update-goldens` writes the golden run

You see a support agent whose prompt somebody "improved". The gate names each place in which the run
differs (arguments of a tool call, states, result) and writes a page that shows both runs side by
side. The model is a script: what the agent does is decided by code, so the same code gives the same
run.
"""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from loom_runner import AgentRunner, Complete, Continue, RunContext, SQLiteStore, ToolRegistry
from loom_runner.testing import LoomGolden

PROMPT = "You are a support agent. Look into the manual before you answer."


@dataclass(frozen=True)
class State:
    """A conversation."""

    prompt: str
    question: str
    notes: tuple[str, ...] = ()


def scripted_model(state: State) -> str:
    """Stand for a model that does what its prompt says."""
    if "manual" in state.prompt and not state.notes:
        return "search: reset password"
    return f"Answer: {state.notes[-1] if state.notes else 'turn it off and on again'}"


def build(prompt: str, db_path: str) -> AgentRunner:
    """Make the agent with a prompt."""
    tools = ToolRegistry()

    @tools.tool("search", read_only=True)
    async def search(query: str) -> str:
        return f"see chapter {len(query)}"

    async def step(state: State, ctx: RunContext) -> Continue[State] | Complete[str]:
        said = scripted_model(replace(state, prompt=prompt))
        if said.startswith("search: "):
            found = await ctx.call_tool("search", query=said.removeprefix("search: "))
            return Continue(replace(state, notes=(*state.notes, found)))
        return Complete(said)

    return AgentRunner(step=step, store=SQLiteStore(db_path, "process"), tools=tools)


def scenario() -> State:
    """Say where the scenario begins."""
    return State("", "How do I reset my password?")


def test_the_agent_still_does_what_it_did(loom_golden: LoomGolden) -> None:
    """The gate itself; its golden run is beside this file."""
    loom_golden(lambda db_path: build(PROMPT, db_path), initial_state=scenario())


def main() -> None:
    """Write a golden run, pass with the same prompt, and fail with another one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        writing = LoomGolden(folder=folder, default_name="support", is_update=True, note=print)
        writing(lambda db_path: build(PROMPT, db_path), initial_state=scenario())
        gate = LoomGolden(folder=folder, default_name="support", is_update=False)
        gate(lambda db_path: build(PROMPT, db_path), initial_state=scenario())
        print("the same prompt: passed\n")
        try:
            gate(lambda db_path: build("You are a support agent. Be brief.", db_path), initial_state=scenario())
        except AssertionError as difference:
            print(f"another prompt: {difference}")


if __name__ == "__main__":
    main()
