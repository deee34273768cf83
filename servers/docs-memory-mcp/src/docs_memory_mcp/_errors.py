"""The errors that this package raises.

DocsMemoryError             base of this package; a `loom_agents.AgentError`
├── SettingsError           a setting that cannot be used; the server does not start
└── CallError               a call that is refused, with the next step
"""

from loom_agents import AgentError

__all__ = ["CallError", "DocsMemoryError", "SettingsError"]


class DocsMemoryError(AgentError):
    """Base class of the errors of this package."""


class SettingsError(DocsMemoryError):
    """A setting of the server cannot be used. Nothing was started."""


class CallError(DocsMemoryError):
    """A call is refused. Nothing was written; the text names what to do instead."""
