"""The agents that `supervise` gives work to: those of `loom.toml`, or three that do for most things."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from loom_agents import AgentProfile
from loom_runner import ToolRegistry

_LOOK = ("search_docs", "read_file", "list_files", "grep", "git_status", "git_diff")

DEFAULT_AGENTS = (
    AgentProfile(
        "researcher",
        "Finds out how things are, in the repository and its documents; changes nothing.\n"
        "Search before you answer, and quote what you rely on as path:line.",
        tools=_LOOK,
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
        tools=(*_LOOK, "run_tests"),
    ),
)


def profiles(named: Mapping[str, Mapping[str, Any]]) -> tuple[AgentProfile, ...]:
    """Make the agents of a configuration; the usual three when it names none."""
    if not named:
        return DEFAULT_AGENTS
    return tuple(AgentProfile.from_json({**facts, "name": name}) for name, facts in named.items())


def only(tools: ToolRegistry, profile: AgentProfile) -> ToolRegistry:
    """Give the tools that an agent has."""
    if profile.tools is None:
        return tools
    return _filtered(tools, lambda tool: any(fnmatchcase(tool.name, pattern) for pattern in profile.tools or ()))


def looking(tools: ToolRegistry) -> ToolRegistry:
    """Give the tools that only look: what a supervisor has, who lets others do the work."""
    return _filtered(tools, lambda tool: tool.read_only)


def _filtered(tools: ToolRegistry, wanted: Any) -> ToolRegistry:
    found = ToolRegistry()
    for tool in tools:
        if wanted(tool):
            found.add(tool)
    return found
