"""The errors that this package raises on purpose, as a tree.

AgentError                  base of this package
├── McpConfigError          an MCP configuration file that cannot be read as a whole
├── MessageFormatError      a stored conversation that this version cannot read
├── NotPermittedError       a request over HTTP that this caller may not make
├── ModelError              a model request without a reply
│   └── ScriptError         a script for `ScriptedModel` that is wrong or too short
└── ToolError               a tool that refused or failed; the text goes back to the model
    └── WorkspaceError      a path that a tool must not touch
"""

__all__ = [
    "AgentError",
    "McpConfigError",
    "MessageFormatError",
    "ModelError",
    "NotPermittedError",
    "ScriptError",
    "ToolError",
    "WorkspaceError",
]


class AgentError(Exception):
    """Base of every error that this package raises on purpose."""


class McpConfigError(AgentError):
    """An MCP configuration file cannot be read. A single bad server in a good file is not an error: it is left out."""


class MessageFormatError(AgentError):
    """A stored conversation is damaged or was written by a newer version."""


class ModelError(AgentError):
    """A model request ended without a reply; nothing was added to the conversation.

    Args:
        message: What happened.
        retryable: Whether the same request may succeed later; the runner then tries the step again.
    """

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class NotPermittedError(AgentError):
    """The caller of an HTTP request may not do this, for instance decide about this tool call."""


class ScriptError(ModelError):
    """A script is wrong, or has no reply for this request. Trying again does not help."""


class ToolError(AgentError):
    """A tool did not do what was asked. The model reads this text, so it says what to do instead."""


class WorkspaceError(ToolError):
    """A path is outside the workspace, holds secrets, or is not something that the tool works on."""
