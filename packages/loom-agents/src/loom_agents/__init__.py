"""The durable agent step: one model request, then its tool calls.

    runner = build_agent_runner(ScriptedModel(["Hello."]), workspace_tools(Workspace.at(Path("."))), store)
    await runner.start(run_id="demo", initial_state=AgentState().with_user("hi").to_json())

`Coordinator` is the step, `Model` the seam to language models, `AgentState` what a run keeps between steps.
"""

from loom_agents._changes import ChangeLog
from loom_agents._coordinator import MESSAGE_SIGNAL, Coordinator, message_text
from loom_agents._delegation import AgentProfile, Delegation
from loom_agents._described import check_arguments, described_tool
from loom_agents._errors import AgentError, MessageFormatError, ModelError, ScriptError, ToolError, WorkspaceError
from loom_agents._messages import AssistantMessage, Message, SummaryMessage, ToolCall, ToolMessage, Usage, UserMessage
from loom_agents._model import Model, ModelReply, ModelRequest, ToolSpec
from loom_agents._policy import Mode, Policy, Rule
from loom_agents._provider import ProviderModel
from loom_agents._questions import INPUT_SIGNAL
from loom_agents._recording import RecordingModel
from loom_agents._runner import build_agent_runner
from loom_agents._scripted import ScriptedModel
from loom_agents._state import AgentState
from loom_agents._workspace import Workspace
from loom_agents._workspace_tools import workspace_tools

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
    "build_agent_runner",
    "check_arguments",
    "described_tool",
    "message_text",
    "workspace_tools",
]
