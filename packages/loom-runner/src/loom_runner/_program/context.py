"""The context of a step: its run, tool calls, budget, signal, children and log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from loom_runner._model.events import RunEvent
from loom_runner._program.attempt_calls import AttemptCalls
from loom_runner._program.bound_call import BoundCall, with_own_key
from loom_runner._program.plain_json import json_text
from loom_runner._program.threads import in_thread
from loom_runner._program.tool_calls import StepSuspended
from loom_runner.errors import LeaseLost, StoreError, UsageError

if TYPE_CHECKING:
    from loom_runner._model.budget import Meter
    from loom_runner._model.results import ChildResult
    from loom_runner._model.retry import RetryPolicy
    from loom_runner._program.running_run import RunningRun, Signal
    from loom_runner._program.tools import Tool

__all__ = ["RunContext", "current_run", "running_context", "set_current_run"]

T = TypeVar("T")

_current: Final[ContextVar[RunContext | None]] = ContextVar("loom_runner.current", default=None)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_QUIET_TURNS: Final = 5
"""After how many iterations of the event loop a step has no further call to start; `gather` needs
three.
"""

_in_tool: Final[ContextVar[bool]] = ContextVar("loom_runner.in_tool", default=False)


_NO_CHILDREN: Final[Mapping[str, ChildResult]] = MappingProxyType({})


class RunContext:
    """The context of one attempt of one step. It cannot be used after the step has returned.

    Attributes:
        run_id: The run.
        step_index: The step, from 0.
        attempt: The attempt of this step, from 0.
        signal: The signal that ended a `Wait`; None after a timeout and in other steps.
        children: The child runs that the step before this one spawned, by name.
    """

    __slots__ = (
        "_calls",
        "_is_over",
        "_run",
        "_stopped",
        "attempt",
        "children",
        "deadline_us",
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
        self.deadline_us: int | None = None
        self._run = run
        self._stopped: BaseException | None = None
        self._is_over = False
        self._calls: AttemptCalls | None = None  # many steps call no tools

    @property
    def idempotency_key(self) -> str:
        """A key for this step: the same in every attempt, and unique to the step and the run."""
        return f"{self.run_id}/{self.step_index}"

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose records have the attributes `run_id`, `step_index` and `attempt`."""
        extra = {"run_id": self.run_id, "step_index": self.step_index, "attempt": self.attempt}
        return logging.LoggerAdapter(logging.getLogger("loom_runner.step"), extra)

    @property
    def budget(self) -> Meter:
        """What the run may use, has used, and what remains; `ctx.budget.spend(tokens=...)` reports
        use.
        """
        return self._run.meter

    @property
    def deadline(self) -> datetime | None:
        """When this attempt is cancelled, by `step_timeout_s` or by the budget's time; None without
        one.
        """
        return None if self.deadline_us is None else _EPOCH + timedelta(microseconds=self.deadline_us)

    def emit(self, event: Mapping[str, Any]) -> None:
        """Send progress to observers, for instance a token of a model's answer. It is not
        stored.
        """
        if self._run.observers:
            at = self._run.clock.now_us()
            self._run.observers.notify(
                RunEvent("emitted", self.run_id, self.step_index, self.attempt, at, {"event": dict(event)})
            )

    def call_tool(
        self,
        name: str | Tool,
        /,
        *args: Any,
        idempotency_key: str | None = None,
        _key: str | None = None,
        _arguments: Mapping[str, Any] | None = None,
        **arguments: Any,
    ) -> Awaitable[Any]:
        """Call a registered tool; on a later attempt, return the recorded payload instead.

        Calls may run concurrently (`asyncio.gather`, task groups): the keys count the calls of each
        name in the order of the code. A call that needs an approval lets the run wait, once the
        other calls of the step are done; on the attempt after the decision it runs, or fails with
        the category `denied` or `approval_expired`.

        Args:
            name: A name of the registry, or a `Tool`.
            args: Arguments by position. They are recorded by name, like the others.
            idempotency_key: A key of your own, unique in this step. A parameter of this name of the
                tool gets it as it is.
            _key: The same, but the tool's parameter gets the run, the step and the key.
            _arguments: More arguments by name, for instance one that is called `idempotency_key`
                and is not the key.
            arguments: The tool's arguments; they are recorded, and compared when the key is used
                again.

        Returns:
            The payload as plain JSON.

        Raises:
            ToolFailed: The tool failed, now or in a recorded attempt.
            ToolCallMismatch: The key is recorded with other arguments.
            UnknownTool: There is no such tool.

        Durability: the start is committed before the tool runs, the payload before the call
        returns.
        """
        tool = self._run.tools.named(name)
        self._require_loop(tool)
        if idempotency_key is not None:
            tool, _key = with_own_key(tool, idempotency_key), idempotency_key
        named = tool.arguments.named(args, {**(_arguments or {}), **arguments})
        passed, by_name = tool.arguments.passed(tool.check(named))
        calls, token = self._managed_calls(), object()
        key, is_own = (calls.next_key(tool), False) if _key is None else (_key, True)
        bound = BoundCall(tool, named, passed, by_name, key, is_own, idempotency_key)
        call = self._managed(bound, token)
        calls.created[token] = tool, call
        return call

    def call_managed(
        self, tool: Tool, recorded: Mapping[str, Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Coroutine[Any, Any, Any]:
        """Call the function of a `@tool` with the original values of its arguments (see `tool`)."""
        calls, token = self._managed_calls(), object()
        call = self._decoded(BoundCall(tool, recorded, args, kwargs, calls.next_key(tool)), token)
        calls.created[token] = tool, call
        return call

    def require_thread(self, tool: Tool) -> None:
        """Refuse a blocking wait on the thread of the event loop."""
        with contextlib.suppress(RuntimeError):
            if asyncio.get_running_loop() is self._run.loop:
                raise UsageError(
                    f"cannot call the sync tool {tool.name!r} from a coroutine inside a run: it would block every "
                    "other run. Make the tool `async def` and await it."
                )

    def wait_from_thread(self, call: Awaitable[T]) -> T:
        """Wait for a managed call of a sync step, which runs on its own thread."""

        async def wait() -> T:
            return await call

        return asyncio.run_coroutine_threadsafe(wait(), self._run.loop).result()

    # ------------------------------------------------------------------ for the engine

    def set_deadline_in(self, seconds: float) -> None:
        """Set the deadline of this attempt."""
        self.deadline_us = self._run.clock.now_us() + int(seconds * 1_000_000)

    def stop(self, reason: BaseException) -> None:
        """Refuse all further calls of this attempt, which must not be committed for this reason."""
        if self._stopped is None:
            self._stopped = reason

    def close(self) -> None:
        """Refuse all further calls: the attempt has ended."""
        self._is_over = True

    @property
    def stopped(self) -> BaseException | None:
        return self._stopped

    @property
    def has_open_calls(self) -> bool:
        return self._calls is not None and self._calls.are_open

    async def wait_for_calls(self) -> None:
        """Wait for calls that the step started in tasks and did not await: their ends are recorded
        before the step.

        Raises:
            UsageError: A call was neither awaited nor started in a task.
        """
        tool = await self._managed_calls().wait()
        if tool is not None:
            raise self._unawaited(tool)

    async def end_calls(self, *, is_cancelled: bool = False) -> UsageError | None:
        """Refuse further calls of an attempt that has failed, and wait until those in flight have
        ended, so that nothing of it happens later (see `AttemptCalls.end`).

        Returns:
            An error that names a call that was not awaited; None if there is none.
        """
        self._is_over = True
        tool = None if self._calls is None else await self._calls.end(is_cancelled=is_cancelled)
        return None if tool is None else self._unawaited(tool)

    def retry_policy(self, tool_name: str | None) -> RetryPolicy | None:
        """Return the policy of a tool that this attempt has called, if it has its own."""
        return None if self._calls is None or tool_name is None else self._calls.policies.get(tool_name)

    def _unawaited(self, tool: Tool) -> UsageError:
        is_registered = tool.name in self._run.tools
        call = f"ctx.call_tool({tool.name!r}, ...)" if is_registered else f"{tool.name}(...)"
        return UsageError(
            f"cannot commit step {self.step_index} of {self.run_id!r}: it calls {tool.name} without await, so the "
            f"call did not run. Write: await {call}."
        )

    def _require_loop(self, tool: Tool) -> None:
        """Refuse a call in a sync step, which runs on a thread and cannot await it."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise UsageError(
                f"cannot call {tool.name} in step {self.step_index} of {self.run_id!r}: a sync step cannot await it. "
                f"Make the step async: async def step(state, ctx), and: await ctx.call_tool({tool.name!r}, ...)."
            ) from None

    def _managed_calls(self) -> AttemptCalls:
        if self._calls is None:
            self._calls = AttemptCalls()
        return self._calls

    async def _decoded(self, bound: BoundCall, token: object) -> Any:
        payload = await self._managed(bound, token)
        codec = bound.tool.result_codec
        return payload if codec.is_plain else codec.decode(json_text(payload))

    async def _managed(self, bound: BoundCall, token: object) -> Any:
        self._managed_calls().created.pop(token, None)
        if not bound.is_own_key:
            return await self._guarded(bound)
        shared = self._managed_calls().shared
        future = shared.get(bound.key)
        if future is not None:
            # A key that is used twice in an attempt is one call; the ledger then compares the
            # arguments.
            with contextlib.suppress(Exception):
                await asyncio.shield(future)
            await self._managed_calls().ended(bound.key)
            return await self._guarded(bound)
        future = shared[bound.key] = self._run.loop.create_future()
        try:
            return await self._guarded(bound)
        finally:
            if not future.done():
                future.set_result(None)

    async def _guarded(self, bound: BoundCall) -> Any:
        tool = bound.tool
        if self._stopped is not None:
            raise self._stopped
        if self._is_over:
            message = f"cannot call {tool.name}: the attempt of step {self.step_index} of {self.run_id!r} is over."
            if _current.get() is self:  # in a task that the attempt left behind: it ends quietly
                raise asyncio.CancelledError(message)
            raise LeaseLost(
                message,
                run_id=self.run_id,
                step_index=self.step_index,
            )
        calls = self._managed_calls()
        with calls.in_flight(tool):
            try:
                return await self._run.tool_calls.call(
                    tool,
                    bound.recorded,
                    step_index=self.step_index,
                    attempt=self.attempt,
                    key=bound.key,
                    execute=_Execute(self, bound, calls),
                )
            except StepSuspended as suspended:
                raise await self._wait_for_others(suspended) from None
            except (StoreError, LeaseLost) as exc:  # of the engine: what a tool raises is a `ToolFailed`
                self.stop(exc)
                raise

    async def _wait_for_others(self, suspended: StepSuspended) -> BaseException:
        """Wait until every other call of the step has ended or is suspended, too; return the error
        to raise.

        So all requests of a step are written together, and calls that need no decision finish. A
        call that has just ended may lead to the next one, so a few iterations of the loop have to
        pass.
        """
        calls = self._managed_calls()
        calls.suspended.append(suspended)
        calls.changed.set()
        quiet_turns = 0
        try:
            while quiet_turns < _QUIET_TURNS and self._stopped is None:
                if len(calls.suspended) < calls.running:
                    calls.changed.clear()
                    await calls.changed.wait()
                    quiet_turns = 0
                else:
                    await asyncio.sleep(0)
                    quiet_turns += 1
        except BaseException:
            calls.suspended.remove(suspended)  # the step has cancelled this call, for instance by a timeout
            raise
        if self._stopped is None:
            self.stop(StepSuspended.merged(calls.suspended))
        return self._stopped or suspended


@dataclass(frozen=True, slots=True)
class _Execute:
    """See `Execute`."""

    context: RunContext
    bound: BoundCall
    calls: AttemptCalls

    async def __call__(self, edited: Mapping[str, Any] | None, /) -> Any:
        tool, context = self.bound.tool, self.context
        args, named = self.bound.arguments(edited, f"{context.run_id}/{context.step_index}/{self.bound.key}")
        function: Callable[..., Any] = tool.function
        token = _in_tool.set(True)
        try:
            if tool.is_async:
                return await function(*args, **named)
            result = await in_thread(function, *args, **named)
            return await result if isinstance(result, Awaitable) else result
        finally:
            _in_tool.reset(token)

    def to_end(self, execution: Coroutine[Any, Any, T], /) -> Awaitable[T]:
        tool = self.bound.tool
        return execution if tool.may_be_cut_off else self.calls.to_end(tool, self.bound.key, execution)


def current_run() -> RunContext | None:
    """Return the context of the step (or tool) that this code runs in; None outside a run."""
    return _current.get()


def running_context() -> RunContext | None:
    """Return the context where a `@tool` is a managed call: in a step, but not inside another
    tool.
    """
    return None if _in_tool.get() else _current.get()


def set_current_run(context: RunContext | None) -> None:
    """Set the context for the code that the driver calls next."""
    _current.set(context)
