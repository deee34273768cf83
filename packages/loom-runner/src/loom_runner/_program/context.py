"""What a step is given beside its state."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from loom_runner._driver.ledger import Ledger, StepParked
from loom_runner._model.events import Audience, Observers, RunEvent
from loom_runner._program.threads import in_thread
from loom_runner._program.tools import KEY_PARAMETER, Tool, ToolRegistry
from loom_runner.errors import LeaseLost, UsageError

if TYPE_CHECKING:
    from loom_runner._driver.children import ChildResult
    from loom_runner._model.budget import Meter
    from loom_runner._model.clock import Clock

__all__ = ["RunContext", "RunningRun", "Signal", "current_run", "entered", "running_context"]

T = TypeVar("T")

_current: Final[ContextVar[RunContext | None]] = ContextVar("loom_runner.current", default=None)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_QUIET_TURNS: Final = 5
"""How many turns of the loop a step has to make its next call: `gather` and `asyncio.wait` need three."""

_in_tool: Final[ContextVar[bool]] = ContextVar("loom_runner.in_tool", default=False)


@dataclass(frozen=True, slots=True)
class Signal:
    """A message that a run waited for. `payload` is JSON."""

    name: str
    payload: Any


@dataclass(frozen=True, slots=True)
class RunningRun:
    """What all steps of a run in this process share."""

    run_id: str
    ledger: Ledger
    tools: ToolRegistry
    observers: Observers | Audience
    clock: Clock
    loop: asyncio.AbstractEventLoop
    meter: Meter


@dataclass(slots=True)
class _Calls:
    """The managed calls of one attempt."""

    ordinals: dict[str, int]
    shared: dict[str, asyncio.Future[None]]
    in_flight: int = 0
    settled: asyncio.Future[None] | None = None
    parked: list[StepParked] = field(default_factory=list)
    moved: asyncio.Event = field(default_factory=asyncio.Event)


_NO_CHILDREN: Final[Mapping[str, ChildResult]] = MappingProxyType({})


class RunContext:
    """One attempt of one step, as the step sees it. It is of no use after the step has returned.

    Attributes:
        run_id: The run.
        step_index: The step, from 0.
        attempt: The attempt of this step, from 0.
        signal: The signal that ended a `Wait`; None after a time-out and in steps that did not wait.
        children: The child runs that the step before this one spawned, by name, as they stand.
    """

    __slots__ = (
        "_calls",
        "_is_over",
        "_run",
        "_stopped",
        "attempt",
        "children",
        "due_us",
        "run_id",
        "signal",
        "step_index",
    )

    def __init__(
        self,
        run: RunningRun,
        step_index: int,
        attempt: int,
        signal: Signal | None,
        children: Mapping[str, ChildResult] = _NO_CHILDREN,
    ) -> None:
        self.run_id = run.run_id
        self.step_index = step_index
        self.attempt = attempt
        self.signal = signal
        self.children = children
        self.due_us: int | None = None
        self._run = run
        self._stopped: BaseException | None = None
        self._is_over = False
        self._calls: _Calls | None = None  # most steps of most programs call nothing

    @property
    def idempotency_key(self) -> str:
        """Name this step for a callee: the same in every attempt, never the same in another step or run."""
        return f"{self.run_id}/{self.step_index}"

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose records carry the run, the step and the attempt."""
        extra = {"run_id": self.run_id, "step_index": self.step_index, "attempt": self.attempt}
        return logging.LoggerAdapter(logging.getLogger("loom_runner.step"), extra)

    @property
    def budget(self) -> Meter:
        """What the run may use, has used, and what remains; `ctx.budget.spend(tokens=...)` reports."""
        return self._run.meter

    @property
    def deadline(self) -> datetime | None:
        """When this attempt is stopped, by the runner's `step_timeout_s` or the budget's time; None when it is not."""
        return None if self.due_us is None else _EPOCH + timedelta(microseconds=self.due_us)

    def emit(self, event: Mapping[str, Any]) -> None:
        """Give observers a piece of progress, for instance a token that a model streams. It is not stored."""
        if self._run.observers:
            at = self._run.clock.now_us()
            self._run.observers.tell(
                RunEvent("emitted", self.run_id, self.step_index, self.attempt, at, {"event": dict(event)})
            )

    def call_tool(self, name: str | Tool, /, *, _key: str | None = None, **arguments: Any) -> Awaitable[Any]:
        """Call a registered tool once, whatever happens: on a later attempt its recorded payload comes back.

        Calls may run side by side (`asyncio.gather`, task groups): keys count the calls of each name in the order of
        the code. A call that needs an approval parks the run, once the other calls of the step are done; on the
        attempt after the decision it runs, or fails with the category `denied` or `approval_expired`.

        Args:
            name: A name of the registry, or a `Tool`.
            _key: An idempotency key of your own, unique in this step.
            arguments: The tool's arguments; they are recorded, and compared when the key is used again.

        Returns:
            The payload as plain JSON.

        Raises:
            ToolFailed: The tool failed, now or in a recorded attempt.
            ToolCallMismatch: The key is on record with other arguments.
            UnknownTool: There is no such tool.

        Durability: the payload is committed when the call returns; so is the fact that it started, before the tool
        runs.
        """
        tool = self._run.tools.get(name) if isinstance(name, str) else name
        checked = tool.check(arguments)
        return self._managed(tool, arguments, self._key_of(tool, _key), (), checked, own_key=_key is not None)

    def call_managed(
        self, tool: Tool, recorded: Mapping[str, Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Coroutine[Any, Any, Any]:
        """Call the function of a `@tool` with the very values that the source passes (see `tool`)."""
        return self._decoded(tool, self._managed(tool, recorded, self._key_of(tool, None), args, kwargs))

    def require_thread(self, tool: Tool) -> None:
        """Refuse a blocking wait on the event loop's own thread."""
        with contextlib.suppress(RuntimeError):
            if asyncio.get_running_loop() is self._run.loop:
                raise UsageError(
                    f"cannot call the sync tool {tool.name!r} from a coroutine inside a run: it would block every "
                    "other run. Make the tool `async def` and await it."
                )

    def wait_from_thread(self, call: Awaitable[T]) -> T:
        """Wait for a managed call in a sync step, which runs on its own thread."""

        async def wait() -> T:
            return await call

        return asyncio.run_coroutine_threadsafe(wait(), self._run.loop).result()

    # ------------------------------------------------------------------ for the driver

    def stop(self, reason: BaseException) -> None:
        """Refuse every further call of this attempt, and say why it must not be committed."""
        if self._stopped is None:
            self._stopped = reason

    def close(self) -> None:
        """Refuse every further call: the attempt is over."""
        self._is_over = True

    @property
    def stopped(self) -> BaseException | None:
        return self._stopped

    @property
    def has_calls_in_flight(self) -> bool:
        return self._calls is not None and self._calls.in_flight > 0

    async def settle(self) -> None:
        """Wait for calls that the step started and did not await: a step is committed with its ledger closed."""
        calls = self._made()
        if calls.in_flight:
            calls.settled = self._run.loop.create_future()
            await calls.settled

    def _made(self) -> _Calls:
        if self._calls is None:
            self._calls = _Calls({}, {})
        return self._calls

    def _key_of(self, tool: Tool, own: str | None) -> str:
        if own is not None:
            return own
        ordinals = self._made().ordinals
        ordinal = ordinals.get(tool.name, 0)
        ordinals[tool.name] = ordinal + 1
        return f"{tool.name}/{ordinal}"

    async def _decoded(self, tool: Tool, call: Awaitable[Any]) -> Any:
        payload = await call
        codec = tool.result_codec
        return payload if codec.is_plain else codec.decode(json.dumps(payload))

    async def _managed(
        self,
        tool: Tool,
        recorded: Mapping[str, Any],
        key: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        own_key: bool = False,
    ) -> Any:
        if self._stopped is not None:
            raise self._stopped
        if self._is_over:
            raise LeaseLost(
                f"cannot call {tool.name}: the attempt of step {self.step_index} of {self.run_id!r} is over.",
                run_id=self.run_id,
                step_index=self.step_index,
            )
        if not own_key:
            return await self._guarded(tool, recorded, key, args, kwargs)
        shared = self._made().shared
        future = shared.get(key)
        if future is not None:
            # The same key twice in one attempt is one call; the ledger compares the arguments when the first is done.
            with contextlib.suppress(Exception):
                await asyncio.shield(future)
            return await self._guarded(tool, recorded, key, args, kwargs)
        future = shared[key] = self._run.loop.create_future()
        try:
            return await self._guarded(tool, recorded, key, args, kwargs)
        finally:
            if not future.done():
                future.set_result(None)

    async def _guarded(
        self, tool: Tool, recorded: Mapping[str, Any], key: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        calls = self._made()
        calls.in_flight += 1
        try:
            return await self._run.ledger.call(
                tool,
                recorded,
                step_index=self.step_index,
                attempt=self.attempt,
                key=key,
                execute=lambda edited: self._execute(tool, key, args, kwargs, edited),
            )
        except StepParked as parked:
            raise await self._rest(parked) from None
        finally:
            calls.in_flight -= 1
            calls.moved.set()
            if not calls.in_flight and calls.settled is not None and not calls.settled.done():
                calls.settled.set_result(None)

    async def _rest(self, parked: StepParked) -> BaseException:
        """Wait until every other call of the step is done or rests as well; then the step is over, and why.

        What needs a person is asked about at once, and what does not is finished. A call that has just ended may be
        about to lead to the next one, so a few quiet turns of the loop have to pass.
        """
        calls = self._made()
        calls.parked.append(parked)
        calls.moved.set()
        quiet_turns = 0
        try:
            while quiet_turns < _QUIET_TURNS and self._stopped is None:
                if len(calls.parked) < calls.in_flight:
                    calls.moved.clear()
                    await calls.moved.wait()
                    quiet_turns = 0
                else:
                    await asyncio.sleep(0)
                    quiet_turns += 1
        except BaseException:
            calls.parked.remove(parked)  # the step has changed its mind, for instance by a time-out of its own
            raise
        if self._stopped is None:
            self.stop(StepParked.merged(calls.parked))
        return self._stopped or parked

    async def _execute(
        self,
        tool: Tool,
        key: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        edited: Mapping[str, Any] | None,
    ) -> Any:
        if edited is not None:
            args, kwargs = (), tool.check(edited)
        named = dict(kwargs)
        if tool.takes_key and KEY_PARAMETER not in named:
            named[KEY_PARAMETER] = f"{self.run_id}/{self.step_index}/{key}"
        function: Callable[..., Any] = tool.function
        token = _in_tool.set(True)
        try:
            if inspect.iscoroutinefunction(function):
                return await function(*args, **named)
            result = await in_thread(function, *args, **named)
            return await result if isinstance(result, Awaitable) else result
        finally:
            _in_tool.reset(token)


def current_run() -> RunContext | None:
    """The context of the step (or tool) that this code runs in; None outside a run."""
    return _current.get()


def running_context() -> RunContext | None:
    """The context, where a `@tool` is a managed call: in a step, but not inside another tool."""
    return None if _in_tool.get() else _current.get()


def entered(context: RunContext | None) -> None:
    """Make `context` the current one for the code that the driver calls next."""
    _current.set(context)
