"""The errors that this package raises.

AgentError                  base of this package
├── McpConfigError          an MCP configuration file that cannot be read
├── MessageFormatError      a stored conversation that this version cannot read
├── NotPermittedError       an HTTP request that this caller is not permitted to make
├── ModelError              a model request without a reply
│   └── ScriptError         a script for `ScriptedModel` that is invalid or too short
└── ToolError               a tool that refused or failed; the text goes back to the model
    ├── SearchError         an index for search that cannot be used
    │   └── EmbeddingsError embeddings that cannot be made now
    └── WorkspaceError      a path that a tool must not touch
"""

__all__ = [
    "AgentError",
    "EmbeddingsError",
    "McpConfigError",
    "MessageFormatError",
    "ModelError",
    "NotPermittedError",
    "ScriptError",
    "SearchError",
    "ToolError",
    "WorkspaceError",
]


class AgentError(Exception):
    """Base class of the errors of this package."""


class McpConfigError(AgentError):
    """An MCP configuration file cannot be read. An invalid server in it is only left out."""


class MessageFormatError(AgentError):
    """A stored conversation is damaged, or was written by a newer version."""


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
    """The caller of an HTTP request is not permitted to do this, such as to decide about a call."""


class ScriptError(ModelError):
    """A script is invalid, or has no reply for this request. A retry does not help."""


class ToolError(AgentError):
    """A tool refused a call or failed. The text is for the model: it names what to do instead."""


class WorkspaceError(ToolError):
    """A path is outside the workspace, holds secrets, or is of a kind that the tool cannot use."""


class SearchError(ToolError):
    """An index for search cannot be used: it is locked, not an index, or its folder is gone."""


class EmbeddingsError(SearchError):
    """Embeddings cannot be made now. The index then searches by words only, and says so."""
