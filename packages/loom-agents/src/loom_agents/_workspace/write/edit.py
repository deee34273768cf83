"""Replace one part of a text and keep the rest of the file unchanged, byte for byte.

`read_file` shows text with plain line feeds, and a model writes text in the same form. The file may
have other line endings, a byte order mark, or bytes that are not UTF-8. So the match is searched in
the text without carriage returns, and only the matched part is replaced, with the line endings that
it had.
"""

import bisect
import difflib
import re
from dataclasses import dataclass

from flow_xray.redaction import MASK

from loom_agents._errors import ToolError

BYTE_ORDER_MARK = "\ufeff"
MAX_COMPARED_LINES = 20_000  # difflib is slow; in longer files no similar line is searched


@dataclass(frozen=True, slots=True)
class Replaced:
    """Hold a text with one part replaced, and the number of the first changed line, from 1."""

    text: str
    line: int


def as_text(path: str, data: bytes) -> str:
    """Decode the bytes of a file so that `as_bytes` returns the same bytes.

    Raises:
        ToolError: The file is not a text file.
    """
    if b"\0" in data[:8192]:
        raise ToolError(f"cannot edit {path!r}: it is not a text file.")
    return data.decode("utf-8", "surrogateescape")


def as_bytes(text: str) -> bytes:
    """Encode a text from `as_text`."""
    return text.encode("utf-8", "surrogateescape")


def replaced(path: str, text: str, old: str, new: str) -> Replaced:
    """Replace the only occurrence of `old`.

    Args:
        path: The path of the file in messages.
        text: The complete file, from `as_text`.
        old: The text to replace, with any line endings.
        new: The new text.

    Raises:
        ToolError: `old` does not occur, or occurs more than once; the message names the lines.
    """
    old, new = _plain(old), _plain(new)
    if not old:
        raise ToolError(f"cannot edit {path!r}: `old` is empty. Use write_file for a whole file.")
    if old == new:
        raise ToolError(f"cannot edit {path!r}: `old` and `new` are the same.")
    plain = _plain(text)
    places = _places(plain, old)
    if not places and MASK in old:
        raise ToolError(
            f"cannot edit {path!r}: `old` contains {MASK}, which stands for a secret that the file has there."
            " Choose parts of the file without it, and leave the secret where it is."
        )
    if not places:
        raise _not_found(path, plain, old)
    check_no_mask(path, plain, new)
    if len(places) > 1:
        lines = [str(plain.count("\n", 0, place) + 1) for place in places[:5]]
        more = ", ..." if len(places) > 5 else ""
        raise ToolError(
            f"cannot edit {path!r}: `old` occurs {len(places)} times, in lines {', '.join(lines)}{more}."
            " Add surrounding lines, so that it occurs only once."
        )
    check_encodable(path, text, new)
    start, end = places[0], places[0] + len(old)
    returns = _return_places(text)
    first = start + bisect.bisect_left(returns, start)
    last = end + bisect.bisect_left(returns, end)
    if _has_returns(text[first:last]) or ("\n" not in old and _has_returns(text)):
        new = new.replace("\n", "\r\n")
    return Replaced(text[:first] + new + text[last:], plain.count("\n", 0, start) + 1)


def check_no_mask(path: str, before: str, text: str) -> None:
    """Refuse to write the mask of a secret into a file that does not have it: it would replace the
    secret.

    Raises:
        ToolError: The text contains it and the file does not.
    """
    if MASK in text and MASK not in before:
        raise ToolError(
            f"cannot edit {path!r}: the new text contains {MASK}, which stands for a secret and would replace it."
            " Use edit_file on the parts around it."
        )


def with_endings_of(before: str, text: str) -> str:
    """Return a text with the line endings and the byte order mark of the text that it replaces."""
    if _has_returns(before) and before.count("\r\n") == before.count("\n"):
        text = _plain(text).replace("\n", "\r\n")
    if before.startswith(BYTE_ORDER_MARK) and not text.startswith(BYTE_ORDER_MARK):
        text = BYTE_ORDER_MARK + text
    return text


def check_encodable(path: str, text: str, new: str) -> None:
    """Refuse to write UTF-8 to a file with another encoding.

    Raises:
        ToolError: The file is not UTF-8 and the new text is not plain ASCII.
    """
    if re.search(r"[\udc80-\udcff]", text) and not new.isascii():
        raise ToolError(
            f"cannot edit {path!r}: it is not UTF-8, and the new text has characters that are not ASCII."
            " Write plain ASCII."
        )


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n")


def _has_returns(text: str) -> bool:
    return "\r\n" in text


def _return_places(text: str) -> list[int]:
    """Return the offsets in the plain text at which a carriage return was removed."""
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
    longest = max(old.split("\n"), key=lambda line: len(line.strip()))
    similar = difflib.get_close_matches(longest, set(lines), n=1) if len(lines) <= MAX_COMPARED_LINES else []
    if similar:
        number = lines.index(similar[0]) + 1
        return ToolError(
            f"cannot edit {path!r}: `old` is not in it. A similar line is line {number}: {similar[0][:200]!r}."
            " Copy the text exactly as read_file shows it."
        )
    count = len(plain.splitlines())
    return ToolError(
        f"cannot edit {path!r}: `old` is not in it; the file has {count} line{'' if count == 1 else 's'}."
        " Copy the text exactly as read_file shows it."
    )
