"""The durable agent step: one model request, then its tool calls.

    import asyncio
    from pathlib import Path

    from loom_agents import AgentState, Coordinator, ScriptedModel, Workspace, build_agent_runner, workspace_tools
    from loom_runner import SQLiteStore

    tools = workspace_tools(Workspace.at(Path(".")))
    coordinator = Coordinator(ScriptedModel(["Hello."]), tools)
    runner = build_agent_runner(coordinator, tools, SQLiteStore("runs.sqlite"), name="helper")
    asyncio.run(runner.start(run_id="demo", initial_state=AgentState().with_user("Hi!").to_json()))

`Coordinator` is the step, `Model` the protocol of language models, `AgentState` the state of a run
between steps.

* `_agent/`: the step, its state, tool calls, delegation, compaction, questions to the user, policy;
* `_models/`: the model protocol, messages, scripted models, providers;
* `_workspace/`: the local tools: path jail, `read/`, `write/`, `undo/`, `git/`, tests;
* `_search/`: the index of documents: words, readers, ranking, vectors;
* `_tools/`: how tools are built from functions, and tools that ask for input;
* `_process/`: commands that cannot outlive their caller;
* `_mcp/`: the MCP client;
* `_serve/`: the HTTP server.

Public modules: `loom_agents.cli`, `loom_agents.mcp`, `loom_agents.process`, `loom_agents.search`,
`loom_agents.serve`, `loom_agents.testing`, `loom_agents.trust`, `loom_agents.workspace`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loom_agents._agent.coordinator import MESSAGE_SIGNAL, Coordinator, message_text
    from loom_agents._agent.delegation import AgentProfile, Delegation
    from loom_agents._agent.policy import Mode, Policy, Rule
    from loom_agents._agent.runner import build_agent, build_agent_runner
    from loom_agents._agent.state import AgentState
    from loom_agents._agent.user_questions import INPUT_SIGNAL
    from loom_agents._errors import AgentError, MessageFormatError, ModelError, ScriptError, ToolError, WorkspaceError
    from loom_agents._models.messages import (
        AssistantMessage,
        Message,
        SummaryMessage,
        ToolCall,
        ToolMessage,
        Usage,
        UserMessage,
    )
    from loom_agents._models.protocol import Model, ModelReply, ModelRequest, ToolSpec
    from loom_agents._models.provider import ProviderModel
    from loom_agents._models.recording import RecordingModel
    from loom_agents._models.script_file import script_of
    from loom_agents._models.scripted import ScriptedModel
    from loom_agents._tools.function_tools import check_arguments, described_tool
    from loom_agents._workspace.jail import Workspace
    from loom_agents._workspace.registry import workspace_tools
    from loom_agents._workspace.undo.change_log import ChangeLog

__all__ = [
    "INPUT_SIGNAL",
    "MESSAGE_SIGNAL",
    "AgentError",
    "AgentProfile",
    "AgentState",
    "AssistantMessage",
    "ChangeLog",
    "Coordinator",
    "Delegation",
    "Message",
    "MessageFormatError",
    "Mode",
    "Model",
    "ModelError",
    "ModelReply",
    "ModelRequest",
    "Policy",
    "ProviderModel",
    "RecordingModel",
    "Rule",
    "ScriptError",
    "ScriptedModel",
    "SummaryMessage",
    "ToolCall",
    "ToolError",
    "ToolMessage",
    "ToolSpec",
    "Usage",
    "UserMessage",
    "Workspace",
    "WorkspaceError",
    "build_agent",
    "build_agent_runner",
    "check_arguments",
    "described_tool",
    "message_text",
    "script_of",
    "workspace_tools",
]

_HOME = {
    "AgentError": "_errors",
    "AgentProfile": "_agent.delegation",
    "AgentState": "_agent.state",
    "AssistantMessage": "_models.messages",
    "ChangeLog": "_workspace.undo.change_log",
    "Coordinator": "_agent.coordinator",
    "Delegation": "_agent.delegation",
    "INPUT_SIGNAL": "_agent.user_questions",
    "MESSAGE_SIGNAL": "_agent.coordinator",
    "Message": "_models.messages",
    "MessageFormatError": "_errors",
    "Mode": "_agent.policy",
    "Model": "_models.protocol",
    "ModelError": "_errors",
    "ModelReply": "_models.protocol",
    "ModelRequest": "_models.protocol",
    "Policy": "_agent.policy",
    "ProviderModel": "_models.provider",
    "RecordingModel": "_models.recording",
    "Rule": "_agent.policy",
    "ScriptError": "_errors",
    "ScriptedModel": "_models.scripted",
    "SummaryMessage": "_models.messages",
    "ToolCall": "_models.messages",
    "ToolError": "_errors",
    "ToolMessage": "_models.messages",
    "ToolSpec": "_models.protocol",
    "Usage": "_models.messages",
    "UserMessage": "_models.messages",
    "Workspace": "_workspace.jail",
    "WorkspaceError": "_errors",
    "build_agent": "_agent.runner",
    "build_agent_runner": "_agent.runner",
    "check_arguments": "_tools.function_tools",
    "described_tool": "_tools.function_tools",
    "message_text": "_agent.coordinator",
    "script_of": "_models.script_file",
    "workspace_tools": "_workspace.registry",
}
"""The module that defines each public name. It is imported at the first access to the name, so that
`--help` of a command built on `loom_agents.cli` loads no agent."""


def __getattr__(name: str) -> Any:
    from importlib import import_module

    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
