"""`Agent(redact=...)`: results of tools and errors are changed before they are stored."""

import asyncio
import subprocess
from typing import Any

import pytest
from loom_runner import Agent, Complete, LocalEngine, RunContext, SQLiteStore, ToolFailed, ToolRegistry

tools = ToolRegistry()


@tools.tool("read")
def read() -> dict[str, str]:
    """Return a secret."""
    return {"text": "the secret"}


@tools.tool("fail")
def fail() -> None:
    """Raise a secret."""
    raise ValueError("the secret")


async def step(state: dict[str, Any], ctx: RunContext) -> Complete[Any]:
    found = await ctx.call_tool("read")
    try:
        await ctx.call_tool("fail")
    except ToolFailed as exc:
        found = [found, str(exc)]
    if state.get("raise"):
        raise RuntimeError("the secret")
    return Complete(found)


def redact(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: redact(part) for key, part in value.items()}
    return value.replace("secret", "***") if isinstance(value, str) else value


@pytest.mark.parametrize("raises", [False, True])
def test_no_secret_of_a_tool_or_an_error_is_stored(tmp_path: Any, *, raises: bool) -> None:
    store = SQLiteStore(str(tmp_path / "runs.sqlite"))
    engine = LocalEngine(store)
    agent = Agent("a", step=step, tools=tools, redact=redact)
    result = asyncio.run(engine.start(agent, run_id="x", initial_state={"raise": raises}))
    assert result.status == ("failed" if raises else "completed")
    if raises:
        assert "the ***" in str(result.error)
    else:
        assert result.result == [{"text": "the ***"}, "tool fail failed: the ***"]
    stored = subprocess.run(["cat", *tmp_path.iterdir()], capture_output=True, check=True).stdout
    assert b"the secret" not in stored.replace(b'raise RuntimeError("the secret")', b"")
