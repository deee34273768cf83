"""Read the body of a request: one JSON object within limits, or an error of one line.

`json.loads` accepts what the rest of the stack cannot store or show: `NaN`, the same key twice,
text that is not Unicode. Objects that are nested deeply exceed the recursion limit of whatever
reads them next. All of it is refused here.
"""

import json
import math
import re
from typing import Any, Final, NoReturn

from fastapi import HTTPException, Request
from starlette.requests import ClientDisconnect

__all__ = ["JSON_BODY", "MAX_DEPTH", "optional_object", "parse_object", "required_object"]

MAX_DEPTH: Final = 64
JSON_BODY: Final = {"requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}}}
"""How the OpenAPI description shows a body that is read here."""
_MAX_INTEGER: Final = 2**63
_NO_BRACKETS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[^"\[\]{}]+', re.DOTALL)
"""What is no bracket outside of a text: texts, closed or not, and everything else."""


async def required_object(request: Request) -> dict[str, Any]:
    """Return the JSON object in the body of a request.

    Raises:
        HTTPException: 400: it has none.
    """
    return parse_object(await _body(request))


async def optional_object(request: Request) -> dict[str, Any]:
    """Return the JSON object in the body of a request; an empty one when there is no body.

    Raises:
        HTTPException: 400: the body is something else.
    """
    data = await _body(request)
    return parse_object(data) if data else {}


def parse_object(data: bytes) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        HTTPException: 400: it is not one, or is outside the limits.
    """
    if _is_too_deep(data):
        _refuse(f"it is nested more than {MAX_DEPTH} levels deep")
    try:
        text = data.decode("utf-8")
        found = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=lambda name: _refuse(f"{name} is not JSON"),
            parse_float=_float,
            parse_int=_integer,
        )
        json.dumps(found, ensure_ascii=False).encode("utf-8")
    except UnicodeError:
        _refuse("its text is not valid Unicode")
    except (ValueError, RecursionError) as exc:
        _refuse(f"it is not JSON: {str(exc).lower()}")
    if not isinstance(found, dict):
        _refuse("it is not a JSON object")
    return found


async def _body(request: Request) -> bytes:
    try:
        data = await request.body()
    except ClientDisconnect:
        _refuse("the client has closed the connection")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if data and kind != "application/json":
        _refuse("its content-type is not application/json")
    return data


def _is_too_deep(data: bytes) -> bool:
    """Return whether arrays and objects are nested too deeply, without parsing them."""
    depth = 0
    for bracket in _NO_BRACKETS.sub(b"", data):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            return True
    return False


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        _refuse("an object in it has the same key twice")
    return found


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        _refuse("a number in it is too large")
    return value


def _integer(text: str) -> int:
    if len(text) > 20 or not -_MAX_INTEGER <= int(text) < _MAX_INTEGER:
        _refuse("an integer in it has more than 64 bits")
    return int(text)


def _refuse(why: str) -> NoReturn:
    raise HTTPException(400, f"cannot read the body: {why}.")
