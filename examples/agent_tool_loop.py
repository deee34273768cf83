"""An agent that asks a model, calls the tool the model names, and goes on until the model answers.

The state is a value and one step makes the next one. The model here is a small script, so the
example runs offline.

    python3 examples/agent_tool_loop.py
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from loom import explain_tailcalls, tailrec


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What the model wants to have done."""

    name: str
    argument: str


@dataclass(frozen=True, slots=True)
class AgentState:
    """A conversation: the question, and one line for everything that happened since."""

    question: str
    lines: tuple[str, ...] = ()

    def with_line(self, line: str) -> "AgentState":
        """Give the state with one more line."""
        return replace(self, lines=(*self.lines, line))


async def word_count(text: str) -> str:
    """Count words."""
    return str(len(text.split()))


async def shout(text: str) -> str:
    """Put a text into capitals."""
    return text.upper()


TOOLS: dict[str, Callable[[str], Awaitable[str]]] = {"word_count": word_count, "shout": shout}


async def ask_model(state: AgentState) -> ToolCall | str:
    """Answer like a model: a tool call, or the final text. It reads the conversation and nothing
    else.
    """
    await asyncio.sleep(0)
    results = [line for line in state.lines if " -> " in line]
    if not results:
        return ToolCall("word_count", state.question)
    if len(results) == 1:
        return ToolCall("shout", "done")
    return f"{results[0].split(' -> ')[1]} words. {results[1].split(' -> ')[1]}!"


@tailrec
async def agent_loop(state: AgentState) -> AgentState:
    """One step: think, act, observe. The tail call is the next step."""
    wanted = await ask_model(state)
    match wanted:
        case ToolCall(name, argument) if name in TOOLS:
            result = await TOOLS[name](argument)
            return await agent_loop(state.with_line(f"{name}({argument!r}) -> {result}"))
        case ToolCall(name):
            return await agent_loop(state.with_line(f"there is no tool {name!r}"))
        case answer:
            return state.with_line(answer)


async def main() -> None:
    """Ask one question and print the conversation."""
    state = await agent_loop(AgentState("how many words are in this question"))
    for line in state.lines:
        print(line)
    print("tail calls compiled:", len(explain_tailcalls(agent_loop, as_json=True)["sites"]))


if __name__ == "__main__":
    asyncio.run(main())
