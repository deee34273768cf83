r"""Text from elsewhere on a terminal: what could command it, or deceive its reader, becomes
visible.

The commands of all packages write what models, tools, programs, notes and repositories said through
`visible` (line feeds and tabs stay), `visible_line` (they do not), `visible_json`, or, for text
that arrives in pieces, a `VisibleStream`.

Shown as the escape that Python would write (`\x1b`, `\u202e`, `\U000e0041`):

* control characters, C0 and C1, with which all terminal sequences begin (CSI, OSC, DCS, APC, PM),
  so that a link of OSC 8 is shown with its target;
* the controls of bidirectional text, which reorder what is read. Right-to-left letters stay;
* whatever Unicode calls default-ignorable: zero-width characters, fillers, variation selectors,
  tags;
* line and paragraph separators, and lone surrogates.

A default-ignorable character stays where writing needs it: in the sequence of one emoji (selector,
skin tone, joiner, flag of a nation), a joiner after a virama, a non-joiner between Arabic letters.
A backslash is not doubled, so text that already contains `\x1b` looks the same: it is as harmless.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["VisibleStream", "visible", "visible_json", "visible_line"]

# Source: Default_Ignorable_Code_Point and Bidi_Control in Unicode's DerivedCoreProperties and
# PropList.
_SHOWN: Final = (
    "\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
_PICTURE: Final = "\xa9\xae\u203c\u2049\u2122-\u21ff\u2300-\u23ff\u2460-\u24ff\u25a0-\u27bf\u2934-\u2935\u2b00-\u2bff"
_EMOJI: Final = f"[{_PICTURE}\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
_JOINED_EMOJI: Final = f"{_EMOJI}[\ufe0e\ufe0f]?[\U0001f3fb-\U0001f3ff]?"
_ARABIC: Final = "[\u0620-\u064a\u066e-\u06d3\u06fa-\u06ff\u0710-\u072f\u074d-\u077f\u08a0-\u08c7]"
_VIRAMA: Final = "[\u094d\u09cd\u0a4d\u0acd\u0b4d\u0bcd\u0c4d\u0ccd\u0d4d\u0dca\u1039\u17d2]"
_NATION: Final = "\U0001f3f4\U000e0067\U000e0062(?:{})\U000e007f".format(
    "|".join("".join(chr(0xE0000 + ord(letter)) for letter in name) for name in ("eng", "sct", "wls"))
)
_KEPT: Final = (
    f"{_NATION}|{_JOINED_EMOJI}(?:\u200d{_JOINED_EMOJI})*|[0-9#*]\ufe0f\u20e3"
    f"|{_VIRAMA}[\u200c\u200d]|(?<={_ARABIC})\u200c(?={_ARABIC})"
)
_PIECES: Final = re.compile(f"(?P<kept>{_KEPT})|[{_SHOWN}]")
_LINE_PIECES: Final = re.compile(f"(?P<kept>{_KEPT})|[\t\n{_SHOWN}]")
_SUSPICIOUS: Final = re.compile(f"[{_SHOWN}]")
_UNFINISHED: Final = re.compile(
    f"(?:(?:{_EMOJI}|[\u200d\ufe0e\ufe0f\U0001f3fb-\U0001f3ff\U000e0061-\U000e007f]){{1,32}}"
    f"|(?:{_ARABIC}|{_VIRAMA})(?:[\u200c\u200d]{_ARABIC}){{0,16}}[\u200c\u200d]?|[0-9#*]\ufe0f?)\\Z"
)


def visible(text: str) -> str:
    r"""Return text that is safe on a terminal; line feeds and tabs stay."""
    return text if _SUSPICIOUS.search(text) is None else _PIECES.sub(_python_escape, text)


def visible_line(text: str) -> str:
    r"""Return text that is safe on a terminal as one line: line feeds and tabs are shown, too."""
    return _LINE_PIECES.sub(_python_escape, text)


def visible_json(text: str) -> str:
    """Return JSON that means the same and is safe on a terminal."""
    return text if _SUSPICIOUS.search(text) is None else _PIECES.sub(_json_escape, text)


class VisibleStream:
    r"""Text that arrives in pieces, as a model writes it: the same result as `visible` of the
    whole.

    The end of a piece is held back while it may continue an emoji or a letter with its joiner.

        stream = VisibleStream()
        assert stream.feed("a\x1b") + stream.feed("[2K") + stream.end() == "a\\x1b[2K"
    """

    __slots__ = ("_before", "_held")

    def __init__(self) -> None:
        self._held = ""
        self._before = ""

    def feed(self, piece: str) -> str:
        """Return what can be written now."""
        text = self._held + piece
        unfinished = _UNFINISHED.search(text)
        cut = len(text) if unfinished is None else unfinished.start()
        self._held = text[cut:]
        return self._written(text[:cut])

    def end(self) -> str:
        """Return what was held back; the stream begins anew."""
        text, self._held = self._held, ""
        written = self._written(text)
        self._before = ""
        return written

    def _written(self, text: str) -> str:
        """Return text as it looks after the character before it, which is what a joiner depends
        on.
        """
        if not text:
            return ""
        before, self._before = self._before, text[-1]
        return visible(before + text)[len(visible(before)) :]


def _python_escape(found: re.Match[str]) -> str:
    return found["kept"] or found[0].encode("unicode_escape").decode("ascii")


def _json_escape(found: re.Match[str]) -> str:
    if found["kept"]:
        return found[0]
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
