"""The arguments of a tool: bound by name, checked by the hints, and passed to the function."""

from __future__ import annotations

import inspect
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

from loom_runner._program.codec import hints_of
from loom_runner.errors import ToolFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["KEY_PARAMETER", "ToolArguments"]

KEY_PARAMETER: Final = "idempotency_key"
_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class ToolArguments:
    """The parameters of a tool's function.

    Args:
        name: The tool's, for messages.
        function: The tool's function.
        is_described: The tool has its own schema: its function's hints say nothing.
    """

    def __init__(self, name: str, function: Callable[..., Any], *, is_described: bool) -> None:
        self._name = name
        self._function = function
        self._is_described = is_described

    @cached_property
    def signature(self) -> inspect.Signature:
        return inspect.signature(self._function)

    @cached_property
    def _parameters(self) -> list[inspect.Parameter]:
        return [each for each in self.signature.parameters.values() if each.name != KEY_PARAMETER]

    @cached_property
    def _rest(self) -> str | None:
        """The parameter that takes further positional arguments."""
        return next((each.name for each in self._parameters if each.kind is each.VAR_POSITIONAL), None)

    @cached_property
    def _has_positional_only(self) -> bool:
        return any(each.kind is each.POSITIONAL_ONLY for each in self._parameters)

    def named(self, positional: Sequence[Any], by_name: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments by name, so that a call is recorded the same however it is written.

        Raises:
            ToolFailed: There are too many, or one is given twice.
        """
        if not positional:
            return dict(by_name)
        names = [each.name for each in self._parameters if each.kind in _POSITIONAL]
        if len(positional) > len(names) and self._rest is None:
            takes = f"takes {len(names)} without a name ({', '.join(names)})" if names else "takes them only by name"
            raise self._refused(f"{len(positional)} arguments are given without a name, and it {takes}")
        named = dict(zip(names, positional, strict=False))
        if twice := next((name for name in named if name in by_name), None):
            raise self._refused(f"argument {twice!r} is given twice")
        if self._rest is not None and len(positional) > len(names):
            named[self._rest] = tuple(positional[len(names) :])
        return named | dict(by_name)

    def passed(self, named: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return arguments by name in the form in which the function takes them."""
        by_name = dict(named)
        rest = tuple(by_name.pop(self._rest, ())) if self._rest is not None else ()
        if not (rest or self._has_positional_only):
            return (), by_name
        positional = []
        for each in self._parameters:
            if each.kind is each.POSITIONAL_ONLY or (rest and each.kind is each.POSITIONAL_OR_KEYWORD):
                if each.name not in by_name:
                    break  # it and those after it have their defaults
                positional.append(by_name.pop(each.name))
        return (*positional, *rest), by_name

    # ------------------------------------------------------------------ by the hints

    @cached_property
    def _fields(self) -> dict[str, str]:
        """The name of each parameter, by the name of its field: names that pydantic reserves are
        aliases.
        """
        from pydantic import BaseModel

        fields: dict[str, str] = {}
        for at, each in enumerate(self._parameters):
            if each.kind is not each.VAR_KEYWORD:
                is_reserved = each.name.startswith(("_", "model_")) or hasattr(BaseModel, each.name)
                fields[f"argument_{at}" if is_reserved else each.name] = each.name
        return fields

    @cached_property
    def _model(self) -> Any:
        """A pydantic model of the arguments, from the signature and its hints."""
        from pydantic import ConfigDict, Field, create_model

        hints = hints_of(self._function)
        fields: dict[str, Any] = {}
        for field, name in self._fields.items():
            parameter = self.signature.parameters[name]
            hint, default = hints.get(name, Any), parameter.default
            if parameter.kind is parameter.VAR_POSITIONAL:
                hint, default = tuple[hint, ...], ()  # type: ignore[valid-type]  # a type made at run time
            default = ... if default is parameter.empty else default
            fields[field] = (hint, default if field == name else Field(default, alias=name))
        takes_more = any(each.kind is each.VAR_KEYWORD for each in self._parameters)
        extra: Literal["allow", "forbid"] = "allow" if takes_more else "forbid"
        config = ConfigDict(extra=extra, arbitrary_types_allowed=True)
        return create_model(f"{self._name}_arguments", __config__=config, **fields)

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the arguments, without those that have no name."""
        schema: dict[str, Any] = self._model.model_json_schema()
        schema.pop("title", None)
        if self._rest is not None:
            schema["properties"].pop(self._rest, None)
        return schema

    def check(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments, validated and converted by the hints.

        Raises:
            ToolFailed: They do not fit.
        """
        if self._is_described:
            return dict(arguments)
        from pydantic import ValidationError

        try:
            model = self._model.model_validate(dict(arguments))
        except ValidationError as exc:
            errors = exc.errors(include_url=False, include_context=False)[:3]
            listed = [f"argument {'.'.join(map(str, each['loc']))!r}: {each['msg']}" for each in errors]
            names = ", ".join(str(each).partition(":")[0].partition("=")[0] for each in self._parameters)
            raise self._refused(f"{'; '.join(listed)}. It takes {names or 'no arguments'}") from exc
        given = {self._fields[field]: getattr(model, field) for field in model.model_fields_set & self._fields.keys()}
        return given | (model.model_extra or {})

    def _refused(self, why: str) -> ToolFailed:
        return ToolFailed(f"cannot call {self._name}: {why}.", error_category="invalid_arguments", tool=self._name)
