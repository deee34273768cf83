"""Build a tool from a function: a JSON Schema of its signature, and a check of arguments.

Only `str`, `int`, `float` and `bool` parameters are supported, so that a command starts without
loading a schema library. A tool with other arguments is declared with its schema.
"""

import functools
import inspect
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any, Final

from loom_runner import Tool, ToolFailed

from loom_agents._errors import AgentError, ToolError

KEY_PARAMETER = "idempotency_key"  # the parameter in which the runner passes the key of the call

_KINDS: Final[dict[type, str]] = {str: "string", int: "integer", float: "number", bool: "boolean"}


def described_tool(function: Callable[..., Any], **declared: Any) -> Tool:
    """Build a tool from a function.

    The model gets its name, its description (the first part of the docstring) and the meaning of
    each parameter (*Args* of the docstring). A `ToolError` that it raises is an answer to the
    model, not a failure of the run.

    Args:
        function: Sync or async; its parameters are `str`, `int`, `float` or `bool`. The runner
            fills in a parameter called `idempotency_key`, which the model does not see.
        **declared: Options of `Tool`: `read_only`, `idempotent`, `on_doubt`, `needs_approval`,
            `timeout_s`.

    Raises:
        AgentError: A parameter has another type.
    """
    description, meanings = _docstring(function)
    schema = _schema(function, meanings)

    def prepared(arguments: dict[str, Any]) -> dict[str, Any]:
        key = {KEY_PARAMETER: arguments.pop(KEY_PARAMETER)} if KEY_PARAMETER in arguments else {}
        return check_arguments(function.__name__, schema, arguments) | key

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def call(**arguments: Any) -> Any:
            try:
                return await function(**prepared(arguments))
            except ToolError as exc:
                raise ToolFailed(str(exc), error_category="refused") from exc
    else:

        @functools.wraps(function)
        def call(**arguments: Any) -> Any:
            try:
                return function(**prepared(arguments))
            except ToolError as exc:
                raise ToolFailed(str(exc), error_category="refused") from exc

    return Tool(name=function.__name__, function=call, description=description, input_schema=schema, **declared)


def check_arguments(name: str, schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Check arguments against a schema of `described_tool`, and convert numbers in quotes.

    Raises:
        ToolFailed: With the category `invalid_arguments`; the message is for the model.
    """
    known: Mapping[str, Any] = schema["properties"]
    for argument in arguments:
        if argument not in known:
            raise _invalid(name, f"it has no argument {argument!r}", f"Arguments: {', '.join(known) or 'none'}.")
    for argument in schema["required"]:
        if argument not in arguments:
            raise _invalid(name, f"the argument {argument!r} is missing", "Add it.")
    checked = {}
    for argument, value in arguments.items():
        kind = known[argument]["type"]
        if value is None and argument not in schema["required"]:
            continue  # some models write null for an argument that they omit
        if isinstance(value, str) and kind in {"integer", "number"}:
            value = _number(value)  # noqa: PLW2901 - the intended number
        if not _fits(value, kind):
            shown = repr(value) if len(repr(value)) < 60 else type(value).__name__
            raise _invalid(name, f"the argument {argument!r} is {shown}", f"It must be a JSON {kind}.")
        checked[argument] = float(value) if kind == "number" else value
    return checked


def _fits(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, {"string": str, "integer": int, "number": int | float, "boolean": bool}[kind])


def _number(text: str) -> Any:
    """Convert a number in quotes; return any other text unchanged."""
    if re.fullmatch(r"-?\d{1,18}", text.strip()):
        return int(text)
    return float(text) if re.fullmatch(r"-?\d{1,18}\.\d{1,18}", text.strip()) else text


def _invalid(name: str, reason: str, advice: str) -> ToolFailed:
    return ToolFailed(f"cannot call {name}: {reason}. {advice}", error_category="invalid_arguments", tool=name)


def _schema(function: Callable[..., Any], meanings: Mapping[str, str]) -> dict[str, Any]:
    hints = typing.get_type_hints(function)
    properties: dict[str, Any] = {}
    required = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == KEY_PARAMETER:
            continue  # filled in by the runner
        kind = _KINDS.get(hints.get(parameter.name, object))
        if kind is None:
            raise AgentError(
                f"cannot build a tool from {function.__name__}: its parameter {parameter.name!r} is not annotated with"
                " str, int, float or bool. Declare the tool with a schema instead."
            )
        properties[parameter.name] = {"type": kind, "description": meanings.get(parameter.name, "")}
        if parameter.default is inspect.Parameter.empty:
            required.append(parameter.name)
        else:
            properties[parameter.name]["default"] = parameter.default
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _docstring(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """Split a docstring into the description of the function and the meaning of each argument."""
    text, _, rest = (inspect.getdoc(function) or "").partition("\nArgs:\n")
    arguments = rest.partition("\n\n")[0]
    meanings = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", arguments, re.MULTILINE)
    return " ".join(text.split()), {name: " ".join(meaning.split()) for name, meaning in meanings}
