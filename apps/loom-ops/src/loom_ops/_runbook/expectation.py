"""The expectation of a check: a comparison such as `< 0.5`, `>= 14d`, `< 90%` or `== 200`."""

from __future__ import annotations

import math
import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Expectation", "parse_expectation"]

_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_UNITS: Final = {"": 1.0, "%": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_FORM: Final = re.compile(r"(<=|>=|==|!=|<|>)\s*(-?\d{1,15}(?:\.\d{1,15})?)\s*(ms|s|m|h|d|%|)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Expectation:
    """A comparison with a number; times are seconds."""

    text: str
    sign: str
    number: float

    def holds(self, value: float) -> bool:
        """Return whether a value meets the expectation. NaN never does."""
        return not math.isnan(value) and _COMPARE[self.sign](value, self.number)


def parse_expectation(text: str) -> Expectation:
    """Parse a comparison.

    Raises:
        ValueError: It is not a comparison.
    """
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a comparison such as < 0.5, >= 14d or == 200")
    return Expectation(text.strip(), found[1], float(found[2]) * _UNITS[found[3]])
