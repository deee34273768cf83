"""Text from the repository and its programs, as it leaves the server: masked, safe on a
terminal.
"""

import re
from typing import Final

from flow_xray.terminal import visible, visible_line
from loom_agents.redaction import redact_text

__all__ = ["shown_line", "shown_text"]

_SEQUENCE: Final = re.compile(r"((?:\x1b|\\x1b|\\033|\\u001b|\\e)\[[0-?]*[ -/]*[@-~])", re.IGNORECASE)


def shown_text(text: str) -> str:
    """Return a text with secrets masked and control characters as escapes; line feeds stay."""
    return visible(_masked(text))


def shown_line(text: str) -> str:
    """Return a text as one line, with secrets masked and control characters as escapes."""
    return visible_line(_masked(text))


def _masked(text: str) -> str:
    masked = redact_text(text)
    if _SEQUENCE.search(masked) is None:
        return masked
    # The letter that ends a colour would hide where a secret begins, so the pieces are masked, too.
    return "".join(part if number % 2 else redact_text(part) for number, part in enumerate(_SEQUENCE.split(masked)))
