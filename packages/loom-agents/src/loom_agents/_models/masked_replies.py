"""Mask the secrets in what a model says, before it is stored, shown or executed.

A model sees no secrets in files and messages, but it can find one (decoded from base64, put
together from parts) or make one up. Its text is masked as every other text. In the arguments of its
calls only what certainly is a secret is masked, because code is full of `password="example"`; the
tools that write refuse the mask.

The pieces of a text that is streamed are held back until the end of a word, so that a secret which
arrives in pieces is masked, too.
"""

import re
from dataclasses import replace
from typing import Final

from loom_agents._models.messages import ToolCall
from loom_agents._models.protocol import ModelReply, OnDelta
from loom_agents.redaction import MASK, redact_certain, redact_text

__all__ = ["MaskedText", "masked_reply"]

_BOUNDARY: Final = re.compile(r"[\s\u0080-\U0010ffff](?=[^\s\u0080-\U0010ffff]*\Z)")  # secrets are printable ASCII
_MAX_HELD: Final = 20_000  # characters
_PLAIN_MASK: Final = MASK.strip("[]")  # a provider takes no brackets in the name of a tool


def masked_reply(reply: ModelReply) -> ModelReply:
    """Return a reply without the secrets in its text and its calls; `details` stay, for the
    provider.
    """
    calls = tuple(map(_masked_call, reply.tool_calls))
    return replace(reply, text=redact_text(reply.text), tool_calls=calls)


def _masked_call(call: ToolCall) -> ToolCall:
    name = redact_certain(call.name).replace(MASK, _PLAIN_MASK)
    return replace(call, name=name, arguments=redact_certain(dict(call.arguments)), malformed=_masked(call.malformed))


def _masked(text: str | None) -> str | None:
    return None if text is None else redact_text(text)


class MaskedText:
    """Pass on a text that arrives in pieces, without the secrets in it.

    Args:
        on_delta: Gets the pieces.
    """

    def __init__(self, on_delta: OnDelta) -> None:
        self._on_delta = on_delta
        self._held = ""  # from the beginning of a line; its first words may have been passed on
        self._passed = ""  # of it, masked

    def add(self, piece: str) -> None:
        """Take the next piece, and pass on what can no longer become a secret."""
        self._held += piece
        begin = self._held.rfind("-----BEGIN")
        if begin >= 0 and "-----END" not in self._held[begin:] and len(self._held) < _MAX_HELD:
            return
        end = self._held.rfind("\n") + 1
        if end:
            self._pass(self._held[:end])
            self._held, self._passed = self._held[end:], ""
        if boundary := _BOUNDARY.search(self._held):
            masked = redact_text(self._held[: boundary.end()])
            if masked.startswith(self._passed):
                self._pass(self._held[: boundary.end()])
        if len(self._held) >= _MAX_HELD:
            self.end()

    def end(self) -> None:
        """Pass on the rest."""
        self._pass(self._held)
        self._held = self._passed = ""

    def _pass(self, text: str) -> None:
        masked = redact_text(text)
        same = next(
            (at for at, (old, new) in enumerate(zip(self._passed, masked, strict=False)) if old != new),
            min(len(self._passed), len(masked)),
        )
        self._passed = masked
        if masked[same:]:
            self._on_delta(masked[same:])
