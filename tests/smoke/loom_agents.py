"""Let an agent with a scripted model call real tools, send it another message, undo what it
changed.
"""

import asyncio
from pathlib import Path

from loom_agents import (
    AgentState,
    ChangeLog,
    Coordinator,
    ModelReply,
    ScriptedModel,
    ToolCall,
    Workspace,
    build_agent_runner,
    workspace_tools,
)
from loom_runner import AgentRunner, SQLiteStore

SCRIPT = [
    ModelReply("I look.", tool_calls=[ToolCall("1", "search_docs", {"query": "whales"})]),
    ModelReply("I write.", tool_calls=[ToolCall("2", "write_file", {"path": "answer.txt", "text": "Krill.\n"})]),
    ModelReply("They eat krill."),
    ModelReply("Krill, as I said."),
]


def runner() -> AgentRunner:
    tools = workspace_tools(Workspace.at(Path("workspace")), changes=ChangeLog(Path("changes.sqlite")))
    return build_agent_runner(
        Coordinator(ScriptedModel(SCRIPT), tools), tools, SQLiteStore("runs.sqlite"), name="agent"
    )


async def main() -> None:
    Path("workspace").mkdir()
    Path("workspace/whales.md").write_text("# Whales\n\nWhales eat krill.\n")
    state = AgentState().with_user("What do whales eat?").to_json()

    answered = await runner().start(run_id="demo", initial_state=state)
    assert answered.status == "waiting" and AgentState.from_json(answered.state).answer == "They eat krill."
    assert Path("workspace/answer.txt").read_text() == "Krill.\n"

    await runner().signal(run_id="demo", name="message", payload={"text": "Again?"})
    again = await runner().resume(run_id="demo")
    assert AgentState.from_json(again.state).answer == "Krill, as I said."
    assert [call["name"] for call in runner().tool_calls("demo")] == ["search_docs", "write_file"]

    assert ChangeLog(Path("changes.sqlite")).undo("demo", Workspace.at(Path("workspace")))
    assert not Path("workspace/answer.txt").exists()


asyncio.run(main())
