"""The errors that the verifier raises.

loom_agents.AgentError
├── SettingsError           a setting that cannot be used; the server does not start
└── loom_agents.ToolError   a call that is refused, with the next step; the client reads it
    └── ArgumentError     an argument of a runner that is not on its list
"""

from loom_agents import AgentError, ToolError

__all__ = ["ArgumentError", "SettingsError", "ToolError"]


class SettingsError(AgentError):
    """A setting of the server cannot be used. Nothing was started."""


class ArgumentError(ToolError):
    """An argument in `extra_args` is not allowed for this runner. Nothing was run."""
