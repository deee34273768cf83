"""Values in the JSON answer of a target."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from loom_ops._errors import TargetError

__all__ = ["Measured", "json_number", "member", "number_of"]

Measured = tuple[float | None, str]
"""The value (seconds, percent or the number itself; None: no number), and the evidence."""


def json_number(text: str, path: str) -> Measured:
    """Return the number at a path of a JSON text, and the evidence.

    Raises:
        TargetError: The text is not JSON, or has no such member.
    """
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise TargetError(f"the answer has no {path}") from exc
    value = member(answer, path)
    return number_of(value), f"{path} is {value!r:.100}"


def member(answer: Any, path: str) -> Any:
    """Return what a path such as `queue.depth` or `parts.0` leads to in an answer.

    Raises:
        TargetError: The answer has no such member.
    """
    for key in path.split("."):
        try:
            answer = answer[int(key)] if isinstance(answer, list) else answer[key]
        except (ValueError, LookupError, TypeError) as exc:
            known = f"; it has: {', '.join(answer)}"[:200] if isinstance(answer, dict) and answer else ""
            raise TargetError(f"the answer has no {path}{known}") from exc
    return answer


def number_of(value: object) -> float | None:
    """Return a number, or a text that is one, as a number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    with contextlib.suppress(ValueError, OverflowError):
        return float(value)
    return None
