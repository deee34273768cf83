"""The redactor of the products: secrets are masked before anything is stored, shown or sent.

It has no memory, so what it returns depends on the value and on the configuration alone: a resumed
run records the same as an uninterrupted one. The values of environment variables whose names name a
secret (`OPENAI_API_KEY`, ...) are known to it and masked wherever they occur.
"""

import os
from functools import lru_cache
from typing import Any

from flow_xray.redaction import MASK, Redactor

__all__ = ["MASK", "redact", "redact_certain", "redact_text", "redactor"]

_MIN_CHARACTERS = 8


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
