"""The redactor of the products: secrets are masked before anything is stored, shown or sent.

It has no memory, so what it returns depends on the value and on the configuration alone: a resumed
run records the same as an uninterrupted one. The values of environment variables whose names name a
secret (`OPENAI_API_KEY`, ...) are known to it and masked wherever they occur.
"""

import os
import re
from functools import lru_cache
from typing import Any, Final

from flow_xray.redaction import MASK, Redactor
from flow_xray.terminal import visible, visible_line

__all__ = [
    "MASK",
    "redact",
    "redact_certain",
    "redact_text",
    "redactor",
    "shown_line",
    "shown_lines",
    "shown_text",
    "with_lines_of",
]

_MIN_CHARACTERS = 8
_SEQUENCE: Final = re.compile(r"((?:\x1b|\\x1b|\\033|\\u001b|\\e)\[[0-?]*[ -/]*[@-~])", re.IGNORECASE)


def redact(value: Any) -> Any:
    """Return a JSON value without the secrets in it; the same object when it has none."""
    return redactor().value(value)


def redact_text(text: str) -> str:
    """Return a text without the secrets in it."""
    return redactor().text(text)


def redact_certain(value: Any) -> Any:
    """Return a JSON value without secrets of known forms and known values, for texts that a program
    uses.
    """
    return redactor().certain(value)


def redactor() -> Redactor:
    """Return the redactor that knows the secrets of this process's environment."""
    names = _redactor(()).weight
    known = (value for name, value in os.environ.items() if len(value) >= _MIN_CHARACTERS and names(name) > 1)
    return _redactor(tuple(sorted(set(known))))


@lru_cache(maxsize=8)
def _redactor(secrets: tuple[str, ...]) -> Redactor:
    empty = Redactor()
    certain = [secret for secret in secrets if empty.is_secret(secret, 2)]
    return Redactor(secrets=certain, remembers=False)


def shown_text(text: str) -> str:
    """Return the text of a file or program as it may be shown: secrets are masked and control
    characters written as escapes; line feeds stay.
    """
    return visible(_masked(text))


def shown_line(text: str) -> str:
    """Return a text as `shown_text` does, on one line."""
    return visible_line(_masked(text))


def shown_lines(text: str) -> list[str]:
    """Return the lines of a text as `shown_text` does, each at its own number: the further lines of
    a secret that has several are empty.
    """
    return visible(with_lines_of(text, _masked(text))).split("\n")


def with_lines_of(text: str, masked: str) -> str:
    """Return the masked form of a text with as many lines as the text has.

    What is between two masks is looked for in the text, in order; the time is linear.
    """
    if masked.count("\n") == text.count("\n"):
        return masked
    first, *pieces = masked.split(MASK)
    kept, at = [first], len(first)
    for number, piece in enumerate(pieces, start=1):
        is_last = number == len(pieces)
        begin = len(text) - len(piece) if is_last else text.find(piece, at)
        begin = max(begin, at)
        kept += [MASK, "\n" * text.count("\n", at, begin), piece]
        at = begin + len(piece)
    return "".join(kept)


def _masked(text: str) -> str:
    masked = redact_text(text)
    if _SEQUENCE.search(masked) is None:
        return masked
    # The letter that ends a colour would hide where a secret begins, so the pieces are masked, too.
    return "".join(part if number % 2 else redact_text(part) for number, part in enumerate(_SEQUENCE.split(masked)))
