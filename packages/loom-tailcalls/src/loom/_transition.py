"""One step as a value: `delta(arguments) -> TailCall(next) | Return(value)`.

The loop that `@tailrec` builds and this transition come from the same analysis, so a driver that
stores every step (loom-runner) runs the same steps as the loop in memory.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from loom._link import Member, decorate, member_of
from loom._locate import not_a_function
from loom._options import Options
from loom._runtime import Next

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping


@dataclass(frozen=True, slots=True)
class TailCall:
    """The step ended with a tail call.

    Attributes:
        function: The public function that runs the next step: the same one, or another member of
            its group.
        arguments: Every parameter of it by name, bound and with defaults; `*args` as a tuple,
            `**kwargs` as a dict.
    """

    function: Callable[..., Any]
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Return:
    """The step ended the whole call.

    Attributes:
        value: What it returned.
    """

    value: Any


class Transition:
    """A function whose steps run one at a time; created by `transition`.

    Attributes:
        function: The public function.
        signature: The signature of the user's function.
        is_async: Whether a call has to be awaited.
    """

    __slots__ = ("_member", "_names", "_receiver", "function", "is_async", "signature")

    def __init__(self, function: Callable[..., Any], member: Member, receiver: tuple[Any, ...]) -> None:
        """Store the parts; `transition` creates one."""
        self.function = function
        self.signature = inspect.signature(function)
        self.is_async = member.plan.analysis.kind == "coroutine"
        self._member = member
        self._receiver = receiver
        self._names = member.plan.parameter_names

    def __repr__(self) -> str:
        """Show the function."""
        return f"<transition of {self.function!r}>"

    def bind(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Bind a call.

        Returns:
            Every parameter by name, defaults applied: `*args` as a tuple, `**kwargs` as a dict.

        Raises:
            TypeError: The arguments do not fit; the error is that of a call of the function.
        """
        return dict(zip(self._names, self._member.binder()(*self._receiver, *args, **kwargs), strict=True))

    def __call__(self, *args: Any, **kwargs: Any) -> TailCall | Return | Awaitable[TailCall | Return]:
        """Run exactly one transition.

        Returns:
            `TailCall` or `Return`; for a coroutine function an awaitable of it.
        """
        return self._run(self._member.binder()(*self._receiver, *args, **kwargs))

    def step(self, arguments: Mapping[str, Any]) -> TailCall | Return | Awaitable[TailCall | Return]:
        """Run exactly one transition from bound arguments, as `bind` and `TailCall.arguments` give
        them.

        Args:
            arguments: Every parameter by name.

        Raises:
            TypeError: A parameter is missing, or there is no parameter of that name.
        """
        if arguments.keys() != set(self._names):
            wrong = sorted({*self._names} ^ arguments.keys())
            message = (
                f"cannot run a step of {self.function.__name__!r}: the arguments {wrong} are missing or unknown.  "
            )
            raise TypeError(message + "Pass what `bind` returned.")
        return self._run(tuple(arguments[name] for name in self._names))

    def _run(self, arguments: tuple[Any, ...]) -> TailCall | Return | Awaitable[TailCall | Return]:
        result = self._member.step(*arguments)
        return self._awaited(result) if self.is_async else self._outcome(result)

    async def _awaited(self, running: Awaitable[Any]) -> TailCall | Return:
        return self._outcome(await running)

    def _outcome(self, result: Any) -> TailCall | Return:
        if type(result) is not Next:
            return Return(result)
        member, values, _ = result
        names = member.plan.parameter_names
        is_own = member is self._member and all(
            value is own for value, own in zip(values, self._receiver, strict=False)
        )
        return TailCall(self.function if is_own else member.public, dict(zip(names, values, strict=True)))


def transition(fn: Callable[..., Any]) -> Transition:
    """Return the transition of a function, which runs one step per call.

    Args:
        fn: A function or coroutine function, decorated with `@tailrec` or accepted by it; or a
            bound method, whose receiver becomes the first argument.

    Raises:
        TailCallError: The function is refused, is a generator, or keeps blocks open
            (`blocks="exact"`).
    """
    receiver: tuple[Any, ...] = ()
    function: object = fn
    if isinstance(fn, MethodType):
        function, receiver = fn.__func__, (fn.__self__,)
    if not isinstance(function, FunctionType):
        raise not_a_function(function)
    member = member_of(function)
    if member is None:
        member = member_of(decorate(function, tuple(Options()), None))
        assert member is not None, "without `allow_none` every accepted function is linked"
    analysis = member.plan.analysis
    if analysis.kind not in ("function", "coroutine"):
        raise analysis.definition.error("LT021")
    if any(call.keeps_blocks for call in analysis.calls):
        raise analysis.definition.error("LT022")
    return Transition(fn, member, receiver)
