"""Templates in a runbook: `{name}` stands for an input, `{secret.name}` for a secret.

Everything else is fixed text. A value that is filled in is not searched for slots again.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["SECRET", "SLOT", "fill", "fill_all", "scalar_text", "slots_in"]

SLOT: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""`{name}`: an input."""
SECRET: Final = re.compile(r"\{secret\.([A-Za-z_][A-Za-z0-9_]*)\}")
"""`{secret.name}`: a secret, in an environment variable or a header."""


def scalar_text(value: Any) -> str:
    """Return a YAML scalar as the text that goes into a command."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def fill(template: str, values: Mapping[str, str]) -> str:
    """Fill the slots of one text. A slot without a value stays, so that it is visible.

    A value never adds a reference to a secret, not even together with the text around it.
    """
    filled = SLOT.sub(lambda slot: values.get(slot[1], slot[0]), template)
    if SECRET.findall(filled) == SECRET.findall(template):
        return filled
    return SECRET.sub(r"{secret \1}", filled)


def fill_all(value: Any, values: Mapping[str, str]) -> Any:
    """Fill the slots of every text in a structure of mappings and lists."""
    if isinstance(value, str):
        return fill(value, values)
    if isinstance(value, dict):
        return {key: fill_all(part, values) for key, part in value.items()}
    if isinstance(value, list):
        return [fill_all(part, values) for part in value]
    return value


def slots_in(value: Any) -> Iterator[str]:
    """Yield the names of the slots in every text of a structure of mappings and lists."""
    if isinstance(value, str):
        yield from SLOT.findall(value)
    elif isinstance(value, dict):
        for part in value.values():
            yield from slots_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from slots_in(part)
