"""Programs that are `@tailrec` loops: every tail call is a step.

The state of a loop is its next call: the function (a group of loops has several), and all arguments
by name, each of its hinted type.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from loom_runner._model.outcomes import Complete, Continue, Fail, Sleep, Spawn, Wait
from loom_runner._program.codec import UNHINTED, Codec, hints_of
from loom_runner._program.custom_codec import CodecFunctions, codec_for
from loom_runner._program.identity import ProgramCode
from loom_runner._program.protocol import Advance
from loom_runner._program.state_versions import Versions
from loom_runner._program.threads import in_thread
from loom_runner.errors import OutcomeError, StateDecodeError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from loom import TailCall

    from loom_runner._program.context import RunContext

__all__ = ["LoopProgram"]

_UNVERSIONED: Final = Versions()
_NO_FUNCTIONS: Final = CodecFunctions()


class LoopProgram(ProgramCode):
    """Drive a `@tailrec` function: every tail call is a step."""

    def __init__(
        self,
        loop: Callable[..., Any],
        result_type: Any = UNHINTED,
        *,
        versions: Versions = _UNVERSIONED,
        codec_functions: CodecFunctions = _NO_FUNCTIONS,
    ) -> None:
        super().__init__(loop, versions)
        self._members: dict[str, _Member] = {}
        self._entry = self._member(loop)
        hint = self._entry.hints.get("return", UNHINTED) if result_type is UNHINTED else result_type
        self._results = codec_for(
            hint, f"the result of {self.name!r}", codec_functions.encode_result, codec_functions.decode_result
        )

    def begin(self, initial: Any) -> str:
        return self._entry.encode(self._entry.bind(initial))[0]

    def read_input(self, text: str) -> Any:
        value = json.loads(text)
        if self._entry.are_arguments(value):
            return {
                name: self._entry.codecs[name].decode(json.dumps(part), reject_unknown_fields=True)
                for name, part in value.items()
            }
        name = self._entry.only_parameter
        return value if name is None else self._entry.codecs[name].decode(text, reject_unknown_fields=True)

    def read_state(self, text: str, *, is_resumed: bool = False) -> Any:
        try:
            stored = json.loads(text)
            member = self._find(stored["function"])
            return member, member.decode(stored["arguments"], is_resumed=is_resumed)
        except (KeyError, TypeError, ValueError) as exc:
            raise StateDecodeError(
                f"cannot read the state of {self.name!r}: it is not a stored call.", raw=text
            ) from exc

    def read_result(self, text: str) -> Any:
        return self._results.decode(text)

    async def advance(self, state: Any, context: RunContext) -> Advance:
        from loom import Return

        member, arguments = state
        if member.is_async:
            out = await member.delta.step(arguments)
        else:
            out = await in_thread(member.delta.step, arguments)
        if isinstance(out, Return):
            if isinstance(out.value, Continue | Complete | Wait | Sleep | Spawn | Fail):
                kind = type(out.value).__name__
                raise OutcomeError(
                    f"cannot commit step {context.step_index} of {context.run_id!r}: {self.name} returned a {kind}, "
                    "and a loop returns its result. To wait, sleep or spawn, write a step function, which may return a "
                    f"{kind}: AgentRunner(step=...).",
                    run_id=context.run_id,
                    step_index=context.step_index,
                )
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
        """Find a function of the group by its stored name: known from a call, else where the loop
        is defined.
        """
        if name in self._members:
            return self._members[name]
        function = inspect.unwrap(self.function)
        known = dict(inspect.getclosurevars(function).nonlocals) if inspect.isfunction(function) else {}
        found = known.get(name) or getattr(function, "__globals__", {}).get(name)
        if not callable(found):
            raise StateDecodeError(
                f"cannot continue {self.name!r}: the stored call is to {name!r}, which the code no longer has."
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

    def __repr__(self) -> str:
        return self.name

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
        """The parameter for an initial value without a name: the only one without a default, else
        the only one.
        """
        named = [p for p in self.parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        required = [p for p in named if p.default is p.empty]
        chosen = required or named
        return chosen[0].name if len(chosen) == 1 else None

    def are_arguments(self, value: Any) -> bool:
        """Return whether a value maps parameters of this function, including all required ones."""
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

    def decode(self, arguments: Mapping[str, Any], *, is_resumed: bool) -> dict[str, object]:
        if set(arguments) != set(self.codecs):
            raise StateDecodeError(
                f"cannot continue {self.name!r}: the stored arguments are {', '.join(arguments) or 'none'}, "
                f"and the function now takes {', '.join(self.codecs) or 'none'}. Restore the old parameters.",
                raw=json.dumps(dict(arguments)),
            )
        return {
            name: codec.decode(json.dumps(arguments[name]), is_resumed=is_resumed)
            for name, codec in self.codecs.items()
        }


def _global_name(function: Callable[..., Any], entry: Callable[..., Any]) -> str:
    name: str = getattr(function, "__name__", "")
    return name or getattr(entry, "__name__", "")
