"""What a run runs: a step function or a `@tailrec` loop, behind one face.

A program knows the types; the driver sees JSON texts and live values side by side and never looks into them. The
state of a step function is what it returns in `Continue`. The state of a loop is the call that comes next: the
function (a group has several) and all its arguments by name, each of its hinted type.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import types
import typing
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from loom_runner._model.outcomes import KEPT, Complete, Continue, Fail, Sleep, Spawn, Wait
from loom_runner._program.codec import UNHINTED, Codec, hints_of
from loom_runner._program.custom_codec import ByHand, codec_for
from loom_runner._program.threads import in_thread
from loom_runner._program.versions import Versions
from loom_runner.errors import OutcomeError, StateDecodeError, UsageError

if TYPE_CHECKING:
    from loom import TailCall

    from loom_runner._model.records import NewRun
    from loom_runner._program.context import RunContext

__all__ = ["Advance", "LoopProgram", "Program", "StepProgram"]


@dataclass(slots=True)
class Advance:
    """What one step came to, written and live. Not frozen: it is made once per step."""

    outcome: Literal["continue", "complete", "wait", "sleep", "spawn", "fail"]
    state: Any = None
    state_text: str | None = None
    result: Any = None
    result_text: str | None = None
    parks: Wait[Any] | Sleep[Any] | Spawn[Any] | None = None
    fail: Fail | None = None
    children: tuple[NewRun, ...] = ()
    waits_for: dict[str, Any] | None = None


_FIRST: Final = Versions()
_NONE: Final = ByHand()
_PARKING: Final[Mapping[type, Literal["wait", "sleep", "spawn"]]] = {Wait: "wait", Sleep: "sleep", Spawn: "spawn"}


class Program(Protocol):
    """What the driver drives."""

    @property
    def name(self) -> str: ...
    @property
    def code_at(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def version(self) -> int:
        """The version of the states that it writes."""

    def upgraded(self, text: str, version: int, what: str) -> str:
        """Bring a stored state of an older version up to date."""

    def begin(self, initial: Any) -> tuple[str, Any]:
        """Turn what the caller starts with into the first state, written and live."""

    def read_input(self, text: str) -> Any:
        """Read what a person typed as JSON into what `begin` takes."""

    def read_state(self, text: str) -> Any:
        """Read a stored state."""

    def read_result(self, text: str) -> Any:
        """Read a stored result."""

    async def advance(self, state: Any, context: RunContext) -> Advance:
        """Run one transition."""


class _Code:
    """Where a function is written, and a fingerprint of the file around it."""

    def __init__(self, function: Callable[..., Any], versions: Versions) -> None:
        self.function = function
        self.version = versions.current
        self.upgraded = versions.upgraded
        self.name: str = getattr(function, "__qualname__", None) or type(function).__qualname__

    @cached_property
    def _code(self) -> types.CodeType | None:
        code = getattr(inspect.unwrap(self.function), "__code__", None)
        return code if isinstance(code, types.CodeType) else None

    @property
    def code_at(self) -> str:
        return f"{Path(self._code.co_filename).name}:{self._code.co_firstlineno}" if self._code else self.name

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the file's lines without comments and blank lines; of the bytecode where there is no file."""
        if self._code is None:
            return hashlib.sha256(self.name.encode()).hexdigest()[:12]
        try:
            text = Path(self._code.co_filename).read_text("utf-8")
        except (OSError, ValueError):
            return hashlib.sha256(self._code.co_code).hexdigest()[:12]
        lines = (line.rstrip() for line in text.splitlines())
        kept = "\n".join(line for line in lines if line and not line.lstrip().startswith("#"))
        return hashlib.sha256(kept.encode()).hexdigest()[:12]


class StepProgram(_Code):
    """Drive `step(state, ctx)`, which returns an outcome. A sync step runs on a thread."""

    def __init__(
        self,
        step: Callable[..., Any],
        state_type: Any = UNHINTED,
        result_type: Any = UNHINTED,
        *,
        versions: Versions = _FIRST,
        by_hand: ByHand = _NONE,
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
            if state_type is UNHINTED and first.annotation is not first.empty and by_hand.encode_state is None:
                raise UsageError(
                    f"cannot run {self.name}: its state's type {first.annotation!r} is not found at run time. "
                    "Define it at the top of the module, or pass state_type=."
                )
        if result_type is UNHINTED:
            result_type = _result_hint(hints.get("return"))
        what, hand = f"of step function {self.name!r}", by_hand
        self._states = codec_for(state_type, f"the state {what}", hand.encode_state, hand.decode_state)
        self._results = codec_for(result_type, f"the result {what}", hand.encode_result, hand.decode_result)

    def begin(self, initial: Any) -> tuple[str, Any]:
        return self._states.encode(initial)

    def read_input(self, text: str) -> Any:
        return self._states.decode(text, typed_by_hand=True)

    def read_state(self, text: str) -> Any:
        return self._states.decode(text)

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
        if type(outcome) is Continue:  # by far the most frequent, and each microsecond counts here
            text, after = self._states.encode(outcome.state)
            return Advance("continue", after, text)
        match outcome:
            case Complete(result=result, state=after):
                text, result = self._results.encode(result)
                advance = Advance("complete", result=result, result_text=text)
                if after is not KEPT:
                    advance.state_text, advance.state = self._states.encode(after)
                return advance
            case Wait() | Sleep() | Spawn():
                text, after = self._states.encode(outcome.state)
                return Advance(_PARKING[type(outcome)], after, text, parks=outcome)
            case Fail():
                return Advance("fail", fail=outcome)
        raise OutcomeError(
            f"cannot commit step {context.step_index} of {context.run_id!r}: {self.name} returned "
            f"{_describe(outcome)}. Return Continue(state), Complete(result), Wait(state, signal), "
            "Sleep(state, delay_s), Spawn(state, children) or Fail(message).",
            run_id=context.run_id,
            step_index=context.step_index,
        )


class LoopProgram(_Code):
    """Drive a `@tailrec` function: every tail call is a step."""

    def __init__(
        self,
        loop: Callable[..., Any],
        result_type: Any = UNHINTED,
        *,
        versions: Versions = _FIRST,
        by_hand: ByHand = _NONE,
    ) -> None:
        super().__init__(loop, versions)
        self._members: dict[str, _Member] = {}
        self._entry = self._member(loop)
        hint = self._entry.hints.get("return", UNHINTED) if result_type is UNHINTED else result_type
        self._results = codec_for(hint, f"the result of {self.name!r}", by_hand.encode_result, by_hand.decode_result)

    def begin(self, initial: Any) -> tuple[str, Any]:
        text, arguments = self._entry.encode(self._entry.bind(initial))
        return text, (self._entry, arguments)

    def read_input(self, text: str) -> Any:
        value = json.loads(text)
        if self._entry.are_arguments(value):
            return {
                name: self._entry.codecs[name].decode(json.dumps(part), typed_by_hand=True)
                for name, part in value.items()
            }
        name = self._entry.only_parameter
        return value if name is None else self._entry.codecs[name].decode(text, typed_by_hand=True)

    def read_state(self, text: str) -> Any:
        try:
            stored = json.loads(text)
            member = self._find(stored["function"])
            return member, member.decode(stored["arguments"])
        except (KeyError, TypeError, ValueError) as exc:
            raise StateDecodeError(
                f"cannot read the state of {self.name!r}: it is not a stored call.", raw=text
            ) from exc

    def read_result(self, text: str) -> Any:
        return self._results.decode(text)

    async def advance(self, state: Any, context: RunContext) -> Advance:  # noqa: ARG002  (a loop's tools find it)
        from loom import Return

        member, arguments = state
        if member.is_async:
            out = await member.delta.step(arguments)
        else:
            out = await in_thread(member.delta.step, arguments)
        if isinstance(out, Return):
            text, result = self._results.encode(out.value)
            return Advance("complete", result=result, result_text=text)
        call: TailCall = out
        callee = member if call.function is member.function else self._member(call.function)
        text, after = callee.encode(call.arguments)
        return Advance("continue", (callee, after), text)

    def _member(self, function: Callable[..., Any]) -> _Member:
        name = _global_name(function, self.function)
        member = self._members.get(name)
        if member is None or member.function is not function:
            member = self._members[name] = _Member(function, name)
        return member

    def _find(self, name: str) -> _Member:
        """Find a function of the group by its stored name: in this run's memory, else where the loop was defined."""
        if name in self._members:
            return self._members[name]
        function = inspect.unwrap(self.function)
        known = dict(inspect.getclosurevars(function).nonlocals) if inspect.isfunction(function) else {}
        found = known.get(name) or getattr(function, "__globals__", {}).get(name)
        if not callable(found):
            raise StateDecodeError(
                f"cannot go on with {self.name!r}: the stored call is to {name!r}, which the code no longer has."
            )
        return self._member(found)


class _Member:
    """One function of a loop: its transition, and a codec for each parameter."""

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        from loom import transition

        self.delta = transition(function)
        self.function = self.delta.function
        self.is_async = self.delta.is_async
        self.name = name
        self.hints = hints_of(function)
        self.parameters = self.delta.signature.parameters
        self.codecs = {
            parameter.name: Codec(self._hint(parameter), f"parameter {parameter.name!r} of {name!r}")
            for parameter in self.parameters.values()
        }
        self._head = f'{{"function":{json.dumps(name)},"arguments":{{'

    def _hint(self, parameter: inspect.Parameter) -> Any:
        hint = self.hints.get(parameter.name, UNHINTED)
        if hint is UNHINTED:
            return UNHINTED
        if parameter.kind is parameter.VAR_POSITIONAL:
            return tuple[hint, ...]  # type: ignore[valid-type]  # a type made at run time
        if parameter.kind is parameter.VAR_KEYWORD:
            return dict[str, hint]  # type: ignore[valid-type]  # a type made at run time
        return hint

    @property
    def only_parameter(self) -> str | None:
        """The parameter that a bare initial value is for: the only one without a default, else the only one."""
        named = [p for p in self.parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        required = [p for p in named if p.default is p.empty]
        chosen = required or named
        return chosen[0].name if len(chosen) == 1 else None

    def are_arguments(self, value: Any) -> bool:
        """Whether a value is a mapping from this function's parameters, with none that is needed left out."""
        if not isinstance(value, Mapping) or not set(value) <= set(self.parameters):
            return False
        required = {
            p.name
            for p in self.parameters.values()
            if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        }
        return required <= set(value)

    def bind(self, initial: Any) -> dict[str, object]:
        if self.are_arguments(initial):
            return dict(self.delta.bind(**initial))
        if initial is None and self.are_arguments({}):
            return dict(self.delta.bind())
        name = self.only_parameter
        if name is None:
            raise UsageError(
                f"cannot start {self.name!r}: it takes {', '.join(self.parameters) or 'nothing'}. "
                "Give the arguments by name, as a dict (or --input with a JSON object)."
            )
        return dict(self.delta.bind(**{name: initial}))

    def encode(self, arguments: Mapping[str, object]) -> tuple[str, dict[str, object]]:
        after: dict[str, object] = {}
        parts = []
        for name, codec in self.codecs.items():
            text, after[name] = codec.encode(arguments[name])
            parts.append(f"{json.dumps(name)}:{text}")
        return f"{self._head}{','.join(parts)}}}}}", after

    def decode(self, arguments: Mapping[str, Any]) -> dict[str, object]:
        if set(arguments) != set(self.codecs):
            raise StateDecodeError(
                f"cannot go on with {self.name!r}: the stored arguments are {', '.join(arguments) or 'none'}, "
                f"and the function now takes {', '.join(self.codecs) or 'none'}. Bring the old parameters back.",
                raw=json.dumps(dict(arguments)),
            )
        return {name: codec.decode(json.dumps(arguments[name])) for name, codec in self.codecs.items()}


def _global_name(function: Callable[..., Any], entry: Callable[..., Any]) -> str:
    name: str = getattr(function, "__name__", "")
    return name or getattr(entry, "__name__", "")


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
    name = type(value).__name__
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"
