"""The agents that `supervise` delegates to: those of `loom.toml`, or three general ones."""

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from loom_agents import AgentProfile
from loom_runner import Tool, ToolRegistry

_READ_ONLY = ("search_docs", "read_file", "list_files", "grep", "git_status", "git_diff")

DEFAULT_AGENTS = (
    AgentProfile(
        "researcher",
        "Finds out how things are, in the repository and its documents; changes nothing.\n"
        "Search before you answer, and quote your sources as path:line.",
        tools=_READ_ONLY,
    ),
    AgentProfile(
        "coder",
        "Changes files so that the task is done, and runs the tests.\n"
        "Make the smallest change that does it. Say which files you changed and how the tests ended.",
    ),
    AgentProfile(
        "verifier",
        "Checks what others say or did: reads the places that they name, runs the tests; changes nothing.\n"
        "Say what is right, what is not, and what you could not check.",
        tools=(*_READ_ONLY, "run_tests"),
    ),
)


def agent_profiles(configured: Mapping[str, Mapping[str, Any]]) -> tuple[AgentProfile, ...]:
    """Build the agents of a configuration; the default three when it has none."""
    if not configured:
        return DEFAULT_AGENTS
    return tuple(AgentProfile.from_json({**facts, "name": name}) for name, facts in configured.items())


def tools_for(profile: AgentProfile, tools: ToolRegistry) -> ToolRegistry:
    """Select the tools that an agent may use."""
    patterns = profile.tools
    if patterns is None:
        return tools
    return _select(tools, lambda tool: any(fnmatchcase(tool.name, pattern) for pattern in patterns))


def read_only_tools(tools: ToolRegistry) -> ToolRegistry:
    """Select the read-only tools: those of a supervisor, who delegates the rest."""
    return _select(tools, lambda tool: tool.read_only)


def _select(tools: ToolRegistry, wanted: Callable[[Tool], bool]) -> ToolRegistry:
    selected = ToolRegistry()
    for tool in tools:
        if wanted(tool):
            selected.add(tool)
    return selected
