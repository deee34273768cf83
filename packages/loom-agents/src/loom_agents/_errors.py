"""Everything that can go wrong here, as a tree.

AgentError                  base of this package
├── McpConfigError          a file of MCP servers that cannot be read as a whole
├── MessageFormatError      a stored conversation that this version cannot read
├── ModelError              the model did not answer
│   └── ScriptError         a script for `ScriptedModel` that is wrong or too short
└── ToolError               a tool refused or could not do its work; goes back to the model
    └── WorkspaceError      a path that a tool must not touch
"""

__all__ = [
    "AgentError",
    "McpConfigError",
    "MessageFormatError",
    "ModelError",
    "ScriptError",
    "ToolError",
    "WorkspaceError",
]


class AgentError(Exception):
    """Base of every error that this package raises on purpose."""


class McpConfigError(AgentError):
    """Say that a file of MCP servers cannot be read. One bad server in a good file is not this: it is only left out."""


class MessageFormatError(AgentError):
    """Say that a stored conversation is damaged or was written by a newer version."""


class ModelError(AgentError):
    """Say that a model request ended without a reply; nothing was added to the conversation.

    Args:
        message: what happened.
        retryable: whether the same request may succeed later; the runner tries the step again then.
    """

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class ScriptError(ModelError):
    """Say that a script is wrong, or has no reply for this request. Trying again does not help."""


class ToolError(AgentError):
    """Say why a tool did not do what was asked. The model reads this text, so it says what to do instead."""


class WorkspaceError(ToolError):
    """Say that a path is outside the workspace, holds secrets, or is not what the tool works on."""
