"""Tools: declared functions with effects outside the run.

`idempotent` says that two calls with the same key have the effect of one; `read_only` that a call
changes nothing. Both allow an interrupted call to be repeated. A tool that is neither is repeated
only after a decision (`on_doubt`).
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, get_args

from loom_runner._model.seconds import check_seconds, in_seconds
from loom_runner._program.codec import Codec
from loom_runner._program.tool_arguments import KEY_PARAMETER, ToolArguments
from loom_runner.errors import UnknownTool, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from loom_runner._model.retry import RetryPolicy
    from loom_runner._model.seconds import Seconds

__all__ = ["Done", "NotDone", "OnDoubt", "Reconcile", "Tool", "ToolRegistry"]

OnDoubt = Literal["retry", "ask", "fail"]
"""What to do about a call without a recorded end: repeat it with its key, wait for a decision, or
fail.
"""


@dataclass(frozen=True)
class Done:
    """The answer of `reconcile` that the call took effect; `result` is its payload."""

    result: Any = None


@dataclass(frozen=True)
class NotDone:
    """The answer of `reconcile` that the call took no effect, and may be repeated."""


Reconcile = Callable[[str, dict[str, Any]], Done | NotDone | Awaitable[Done | NotDone | None] | None]
"""Finds out whether an interrupted call took effect, by its idempotency key and its arguments. None
means unknown: `on_doubt` decides."""

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A declared tool.

    Args:
        name: The name for `ctx.call_tool` and for a model.
        function: Takes the arguments by name; a sync function runs on a thread. A parameter
            `idempotency_key` gets the key of the call.
        description: For a model; the docstring by default.
        idempotent: A second call with the same idempotency key has no further effect.
        read_only: A call changes nothing.
        needs_approval: Each call needs an approval, unless the agent's gate decides otherwise.
        on_doubt: What to do about an interrupted call; None means `retry` for idempotent and
            read-only tools, else `ask`.
        reconcile: Finds out about an interrupted call, before `on_doubt` applies:
            `reconcile(key, arguments)` returns `Done(result)`, `NotDone()`, or None if unknown.
        timeout_s: Seconds (or a `timedelta`) after which the call fails with the category
            `timeout`.
        retry: When a step that this tool has failed is tried again; by default as the agent says.
        input_schema: JSON Schema of the arguments. If it is given, the arguments are not checked.
        result_hint: The type of the payload; plain JSON by default.
    """

    name: str
    function: Callable[..., Any] = field(repr=False)
    description: str = ""
    idempotent: bool = False
    read_only: bool = False
    needs_approval: bool = False
    on_doubt: OnDoubt | None = None
    reconcile: Reconcile | None = field(default=None, repr=False)
    timeout_s: Seconds | None = None
    retry: RetryPolicy | None = None
    input_schema: Mapping[str, Any] | None = None
    result_hint: Any = field(default=inspect.Parameter.empty, repr=False)

    def __post_init__(self) -> None:
        if not self.name or not self.name.isprintable() or set(self.name) & set("/#"):
            raise UsageError(f"cannot declare tool {self.name!r}: a name has printable characters, and no '/' or '#'.")
        if self.on_doubt is not None and self.on_doubt not in get_args(OnDoubt):
            raise UsageError(f"cannot declare tool {self.name!r}: on_doubt is one of retry, ask, fail.")
        if self.timeout_s is not None:
            verb = f"declare tool {self.name!r}"
            object.__setattr__(self, "timeout_s", check_seconds(verb, "timeout_s", self.timeout_s, is_positive=True))

    @property
    def limit_s(self) -> float | None:
        """The timeout of a call in seconds; None without one."""
        return None if self.timeout_s is None else in_seconds(self.timeout_s)

    @property
    def is_repeatable(self) -> bool:
        """Whether an interrupted call may be repeated."""
        return self.idempotent or self.read_only

    @property
    def may_be_cut_off(self) -> bool:
        """Whether a call without a recorded end is simply repeated, so that nothing is lost when
        the step cancels it.
        """
        return self.is_repeatable or self.on_doubt == "retry"

    @cached_property
    def is_async(self) -> bool:
        """Whether cancelling a call stops it; a function on a thread is not stopped."""
        return inspect.iscoroutinefunction(self.function)

    @property
    def doubt_policy(self) -> OnDoubt:
        return self.on_doubt or ("retry" if self.is_repeatable else "ask")

    @cached_property
    def arguments(self) -> ToolArguments:
        """The parameters of the function."""
        return ToolArguments(self.name, self.function, is_described=self.input_schema is not None)

    @property
    def signature(self) -> inspect.Signature:
        return self.arguments.signature

    @cached_property
    def takes_key(self) -> bool:
        return KEY_PARAMETER in self.signature.parameters

    @cached_property
    def result_codec(self) -> Codec:
        return Codec(self.result_hint, f"the result of tool {self.name!r}")

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the arguments, from the hints unless it was given."""
        return self.arguments.schema() if self.input_schema is None else dict(self.input_schema)

    def check(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments, validated and converted by the hints.

        Raises:
            ToolFailed: With the category `invalid_arguments`; the tool was not run.
        """
        return self.arguments.check(arguments)


class ToolRegistry:
    """The tools that the steps of an agent may call by name."""

    def __init__(self) -> None:
        self._tools: dict[str, Tool] = {}

    def __eq__(self, other: object) -> bool:
        """Registries with the same tools are equal."""
        return isinstance(other, ToolRegistry) and self._tools == other._tools

    __hash__ = None  # type: ignore[assignment]  # it changes

    def tool(
        self,
        name: str | None = None,
        *,
        description: str = "",
        idempotent: bool = False,
        read_only: bool = False,
        needs_approval: bool = False,
        on_doubt: OnDoubt | None = None,
        reconcile: Reconcile | None = None,
        timeout_s: Seconds | None = None,
        retry: RetryPolicy | None = None,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Register the decorated function, which stays a plain function. The arguments are those of
        `Tool`.
        """

        named: object = name
        if callable(named):
            own = str(getattr(named, "__name__", "NAME"))
            raise UsageError(f'cannot declare tool {own!r}: its name is a function. Write @tools.tool("{own}").')

        def register(function: Callable[P, R]) -> Callable[P, R]:
            self.add(
                Tool(
                    name=name or str(getattr(function, "__name__", "")),
                    function=function,
                    description=description or inspect.getdoc(function) or "",
                    idempotent=idempotent,
                    read_only=read_only,
                    needs_approval=needs_approval,
                    on_doubt=on_doubt,
                    reconcile=reconcile,
                    timeout_s=timeout_s,
                    retry=retry,
                )
            )
            return function

        return register

    def add(self, tool: Tool) -> None:
        """Register a `Tool`, for instance one of a remote server."""
        if tool.name in self._tools:
            raise UsageError(f"cannot register tool {tool.name!r}: the name is taken. Choose another one.")
        self._tools[tool.name] = tool

    def get(self, name: str) -> Tool:
        """Return the tool of this name.

        Raises:
            UnknownTool: There is no such tool.
        """
        try:
            return self._tools[name]
        except KeyError:
            names = ", ".join(sorted(self._tools)) or "none. Pass the registry, tools=..., to Agent or AgentRunner"
            raise UnknownTool(f"cannot call tool {name!r}: it is not registered. Tools: {names}.") from None

    def named(self, name: str | Tool) -> Tool:
        """Return the tool of this name; a `Tool` is returned as it is.

        Raises:
            UnknownTool: There is no such tool.
            UsageError: It is neither, for instance the function of a tool.
        """
        if isinstance(name, str):
            return self.get(name)
        given: object = name
        own = getattr(given, "tool", given)  # of a function marked `@tool`
        if isinstance(own, Tool):
            return own
        known = next((f", for instance {each.name!r}" for each in self if each.function == given), "")
        raise UsageError(f"cannot call {given!r:.60}: call_tool takes the name of a tool{known}.")

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def __len__(self) -> int:
        return len(self._tools)
