"""Programs that are step functions: `step(state, ctx)` returns an outcome with the next state."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Final, Literal

from loom_runner._model.outcomes import UNCHANGED, Complete, Continue, Fail, Sleep, Spawn, Wait
from loom_runner._program.codec import UNHINTED, hints_of
from loom_runner._program.custom_codec import CodecFunctions, codec_for
from loom_runner._program.identity import ProgramCode
from loom_runner._program.protocol import Advance
from loom_runner._program.state_versions import Versions
from loom_runner._program.threads import in_thread
from loom_runner.errors import OutcomeError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from loom_runner._program.context import RunContext

__all__ = ["StepProgram"]

_UNVERSIONED: Final = Versions()
_NO_FUNCTIONS: Final = CodecFunctions()
_SUSPENDING: Final[Mapping[type, Literal["wait", "sleep", "spawn"]]] = {Wait: "wait", Sleep: "sleep", Spawn: "spawn"}


class StepProgram(ProgramCode):
    """Drive `step(state, ctx)`, which returns an outcome. A sync step runs on a thread."""

    def __init__(
        self,
        step: Callable[..., Any],
        state_type: Any = UNHINTED,
        result_type: Any = UNHINTED,
        *,
        versions: Versions = _UNVERSIONED,
        codec_functions: CodecFunctions = _NO_FUNCTIONS,
    ) -> None:
        super().__init__(step, versions)
        self._step = step
        self._is_async = inspect.iscoroutinefunction(step) or inspect.iscoroutinefunction(type(step).__call__)
        parameters = [
            parameter
            for parameter in inspect.signature(step).parameters.values()
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        ]
        required = [parameter for parameter in parameters if parameter.default is parameter.empty]
        if not parameters or len(required) > 2:
            raise UsageError(f"cannot run {self.name}: a step takes its state and a context: step(state, ctx).")
        self._takes_context = len(parameters) > 1
        hints = hints_of(step)
        first = parameters[0]
        if state_type is UNHINTED:
            state_type = hints.get(first.name, UNHINTED)
            if state_type is UNHINTED and first.annotation is not first.empty and codec_functions.encode_state is None:
                raise UsageError(
                    f"cannot run {self.name}: the type of its state, {first.annotation!r}, is not found at run time. "
                    "Define it at the top of the module, or pass state_type=."
                )
        if result_type is UNHINTED:
            result_type = _result_hint(hints.get("return"))
        what, functions = f"of step function {self.name!r}", codec_functions
        self._states = codec_for(
            state_type, f"the state {what}", functions.encode_state, functions.decode_state, version=versions.current
        )
        self._results = codec_for(result_type, f"the result {what}", functions.encode_result, functions.decode_result)

    def begin(self, initial: Any) -> str:
        return self._states.encode(initial)[0]

    def read_input(self, text: str) -> Any:
        return self._states.decode(text, reject_unknown_fields=True)

    def read_state(self, text: str, *, is_resumed: bool = False) -> Any:
        return self._states.decode(text, is_resumed=is_resumed)

    def read_result(self, text: str) -> Any:
        return self._results.decode(text)

    async def advance(self, state: Any, context: RunContext) -> Advance:
        arguments = (state, context) if self._takes_context else (state,)
        if self._is_async:
            outcome = await self._step(*arguments)
        else:
            outcome = await in_thread(self._step, *arguments)
            if isinstance(outcome, Awaitable):
                outcome = await outcome
        if type(outcome) is Continue:  # the most frequent outcome, handled first for speed
            text, after = self._states.encode(outcome.state)
            return Advance("continue", after, text)
        match outcome:
            case Complete(result=result, state=after):
                text, result = self._results.encode(result)
                advance = Advance("complete", result=result, result_text=text)
                if after is not UNCHANGED:
                    advance.state_text, advance.state = self._states.encode(after)
                return advance
            case Wait() | Sleep() | Spawn():
                text, after = self._states.encode(outcome.state)
                return Advance(_SUSPENDING[type(outcome)], after, text, suspension=outcome)
            case Fail():
                return Advance("fail", fail=outcome)
        raise OutcomeError(
            f"cannot commit step {context.step_index} of {context.run_id!r}: {self.name} returned "
            f"{_describe(outcome)}. Return Continue(state), Complete(result), Wait(state, signal), "
            "Sleep(state, delay_s), Spawn(state, children) or Fail(message).",
            run_id=context.run_id,
            step_index=context.step_index,
        )


def _result_hint(hint: Any) -> Any:
    """Find `Result` in a return hint such as `Continue[State] | Complete[Result]`."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    for option in options:
        if typing.get_origin(option) is Complete:
            (result,) = typing.get_args(option)
            return UNHINTED if isinstance(result, typing.TypeVar) else result
    return UNHINTED


def _describe(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name = type(value).__name__
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"
