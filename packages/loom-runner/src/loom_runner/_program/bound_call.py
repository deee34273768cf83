"""One managed call of a step, before it is made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from loom_runner._program.tool_arguments import KEY_PARAMETER
from loom_runner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loom_runner._program.tools import Tool

__all__ = ["BoundCall", "with_own_key"]


@dataclass(frozen=True, slots=True)
class BoundCall:
    """A tool, the arguments that are recorded, and how the function is called.

    Attributes:
        recorded: The arguments as they were given, by name.
        args: The positional arguments for the function.
        kwargs: Those by name.
        key: Identifies the call in its step.
        is_own_key: The step chose the key.
        key_for_tool: What the parameter `idempotency_key` gets; None is the run, the step and
            `key`.
    """

    tool: Tool
    recorded: Mapping[str, Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    key: str
    is_own_key: bool = False
    key_for_tool: str | None = None

    def arguments(self, edited: Mapping[str, Any] | None, default_key: str) -> tuple[Sequence[Any], dict[str, Any]]:
        """Return what the function is called with.

        Args:
            edited: The arguments of an edited approval, instead of those of the step.
            default_key: The run, the step and the key.
        """
        args, named = self.args, dict(self.kwargs)
        if edited is not None:
            args, named = self.tool.arguments.passed(self.tool.check(edited))
        if self.tool.takes_key and KEY_PARAMETER not in named:
            named[KEY_PARAMETER] = self.key_for_tool or default_key
        return args, named


def with_own_key(tool: Tool, key: object) -> Tool:
    """Return a tool whose `reconcile` is asked about the key that its function gets.

    Raises:
        UsageError: The key is not a string.
    """
    if not isinstance(key, str) or not key:
        raise UsageError(f"cannot call {tool.name}: idempotency_key is {key!r}; it must be a string that is not empty.")
    reconcile = tool.reconcile
    if reconcile is None:
        return tool
    return replace(tool, reconcile=lambda _, arguments: reconcile(key, arguments))
