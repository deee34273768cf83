"""Replace one piece of a text, and leave everything else of the file as it is, byte for byte.

A model sees text with plain line feeds (`read_file` shows it so) and answers in it. The file may have other line
endings, a byte order mark, or bytes that are no UTF-8. So the match is looked for in the text without carriage
returns, and only the matched piece is written anew, with the line endings that were there.
"""

import bisect
import difflib
import re
from dataclasses import dataclass

from loom_agents._errors import ToolError

BYTE_ORDER_MARK = "\ufeff"
MAX_NEAR_LINES = 20_000  # difflib is slow; beyond this a file is not searched for what is near


@dataclass(frozen=True, slots=True)
class Replaced:
    """Hold a text with one piece replaced, and the number of the first changed line, from 1."""

    text: str
    line: int


def as_text(path: str, data: bytes) -> str:
    """Read a file's bytes so that `as_bytes` gives the very same ones back.

    Raises:
        ToolError: It is not a text file.
    """
    if b"\0" in data[:8192]:
        raise ToolError(f"cannot edit {path!r}: it is not a text file.")
    return data.decode("utf-8", "surrogateescape")


def as_bytes(text: str) -> bytes:
    """Write a text that `as_text` gave."""
    return text.encode("utf-8", "surrogateescape")


def replaced(path: str, text: str, old: str, new: str) -> Replaced:
    """Replace the only place where `old` stands.

    Args:
        path: Names the file in messages.
        text: The whole file, as `as_text` gives it.
        old: What to replace; its line endings do not matter.
        new: What to write there.

    Raises:
        ToolError: `old` is not there, or more than once; the text says where to look.
    """
    old, new = _plain(old), _plain(new)
    if not old:
        raise ToolError(f"cannot edit {path!r}: `old` is empty. Use write_file for a whole file.")
    if old == new:
        raise ToolError(f"cannot edit {path!r}: `old` and `new` are the same.")
    plain = _plain(text)
    places = _places(plain, old)
    if not places:
        raise _not_found(path, plain, old)
    if len(places) > 1:
        lines = [str(plain.count("\n", 0, place) + 1) for place in places[:5]]
        more = ", ..." if len(places) > 5 else ""
        raise ToolError(
            f"cannot edit {path!r}: `old` is in it {len(places)} times, in lines {', '.join(lines)}{more}."
            " Add lines around it, so that it stands there once."
        )
    check_encodable(path, text, new)
    start, end = places[0], places[0] + len(old)
    returns = _return_places(text)
    first = start + bisect.bisect_left(returns, start)
    last = end + bisect.bisect_left(returns, end)
    if _has_returns(text[first:last]) or ("\n" not in old and _has_returns(text)):
        new = new.replace("\n", "\r\n")
    return Replaced(text[:first] + new + text[last:], plain.count("\n", 0, start) + 1)


def with_endings_of(before: str, text: str) -> str:
    """Give a text the line endings and the byte order mark of the one that it replaces."""
    if _has_returns(before) and before.count("\r\n") == before.count("\n"):
        text = _plain(text).replace("\n", "\r\n")
    if before.startswith(BYTE_ORDER_MARK) and not text.startswith(BYTE_ORDER_MARK):
        text = BYTE_ORDER_MARK + text
    return text


def check_encodable(path: str, text: str, new: str) -> None:
    """Refuse to put UTF-8 into a file of another encoding.

    Raises:
        ToolError: The file is not UTF-8 and the new text is not plain ASCII.
    """
    if re.search(r"[\udc80-\udcff]", text) and not new.isascii():
        raise ToolError(
            f"cannot edit {path!r}: it is not UTF-8, and the new text has characters that would not fit in."
            " Write plain ASCII there."
        )


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n")


def _has_returns(text: str) -> bool:
    return "\r\n" in text


def _return_places(text: str) -> list[int]:
    """Where the line feeds that lost their carriage return stand in the plain text, in order."""
    return [found.start() - index for index, found in enumerate(re.finditer("\r\n", text))]


def _places(plain: str, old: str) -> list[int]:
    places = []
    place = plain.find(old)
    while place >= 0:
        places.append(place)
        place = plain.find(old, place + 1)
    return places


def _not_found(path: str, plain: str, old: str) -> ToolError:
    lines = plain.split("\n")
    wanted = max(old.split("\n"), key=lambda line: len(line.strip()))
    near = difflib.get_close_matches(wanted, set(lines), n=1) if len(lines) <= MAX_NEAR_LINES else []
    if near:
        number = lines.index(near[0]) + 1
        return ToolError(
            f"cannot edit {path!r}: `old` is not in it. Near is line {number}: {near[0][:200]!r}."
            " Copy the text exactly as read_file shows it."
        )
    count = len(plain.splitlines())
    return ToolError(
        f"cannot edit {path!r}: `old` is not in it, which has {count} line{'' if count == 1 else 's'}."
        " Copy the text exactly as read_file shows it."
    )
