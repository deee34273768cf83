"""The errors that the verifier raises.

VerifierError               base of this package; a `loom_agents.AgentError`
├── SettingsError           a setting that cannot be used; the server does not start
└── CallError               a call that is refused, with the next step; also a `loom_agents.ToolError`
    └── ArgumentError       an argument in `extra_args` that is not on the list of its runner
"""

from loom_agents import AgentError, ToolError

__all__ = ["ArgumentError", "CallError", "SettingsError", "VerifierError"]


class VerifierError(AgentError):
    """Base class of the errors of this package."""


class SettingsError(VerifierError):
    """A setting of the server cannot be used. Nothing was started."""


class CallError(VerifierError, ToolError):
    """A call is refused. Nothing was run; the text names what to do instead."""


class ArgumentError(CallError):
    """An argument in `extra_args` is not allowed for this runner. Nothing was run."""
