"""What a slot of an allow rule may stand for.

Theory of operation. A rule is written for the values its author thinks of; a requester thinks of
others. So a value is plain by default, whatever the pattern of its slot says: letters, digits and
`_ . : @ % + , -`, not beginning with `-`, `+` or `@`, and neither `.` nor `..`. A value with a
separator of paths, a space, or anything that a shell or another language reads needs the word of
the rule, `may`. A *closed* pattern (`api|web`) needs none: its author wrote each value.

An open pattern has a second limit, against programs that start what they are told (`env`, `ssh`):
its value may not be the name of a program in the rule's folders, nor of a file in the folder of
the command. So no list of such programs is needed; `programs` has one, as a second net.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, get_args

__all__ = ["KINDS", "May", "Param", "is_closed", "too_wide"]

May = Literal["path", "space", "text", "program"]
KINDS: Final[tuple[May, ...]] = get_args(May)

_LITERAL: Final = r"(?:[A-Za-z0-9_@%=:,/ ~-]|\\[^A-Za-z0-9])+"
_CLOSED: Final = re.compile(rf"(?:\((?:\?:)?)?{_LITERAL}(?:\|{_LITERAL})*\)?")
_PLAIN: Final = "A-Za-z0-9_.:@%+,-"
_METACHARACTERS: Final = ";&|$()<>`\"'\\!*?[]{}~#^="
_AROUND: Final = ("a", "0", "A", "aaaaaaaa", "", "1.2")


def is_closed(pattern: str) -> bool:
    """Return whether a pattern only lists values: `api|web`, not `[a-z]+`."""
    return _CLOSED.fullmatch(pattern) is not None and pattern.startswith("(") == pattern.endswith(")")


@dataclass(frozen=True, slots=True)
class Param:
    """The values of one slot.

    Args:
        pattern: Matched against the whole value.
        may: What an open pattern may match besides plain values: `path`, `space`, `text` (all but
            control characters), and the name of a `program`.
    """

    pattern: re.Pattern[str]
    may: frozenset[May] = frozenset()

    @property
    def is_closed(self) -> bool:
        """Whether the pattern lists its values."""
        return is_closed(self.pattern.pattern)

    @property
    def may_name_programs(self) -> bool:
        """Whether a value may be the name of a program or a file in the working folder."""
        return self.is_closed or bool(self.may & {"program", "text"})

    def accepts(self, value: str) -> bool:
        """Return whether the slot may have this value."""
        if value.startswith("-") or self.pattern.fullmatch(value) is None:
            return False
        return self.is_closed or is_plain(value, self.may)


def is_plain(value: str, may: frozenset[May]) -> bool:
    """Return whether a value has only what every open slot may have, and what `may` adds."""
    if "text" in may:
        return True
    if "path" not in may and (value in (".", "..") or value.startswith("@")):
        return False
    allowed = _PLAIN + ("/" if "path" in may else "") + (" " if "space" in may else "")
    return not value.startswith(("-", "+")) and re.fullmatch(f"[{allowed}]*", value, re.ASCII) is not None


def too_wide(pattern: re.Pattern[str], may: frozenset[May]) -> tuple[May, str] | None:
    """Return what an open pattern matches that `may` does not name, with an example.

    It tries examples, so that a mistake is found when the rules are read; `Param.accepts` decides.
    """
    if is_closed(pattern.pattern):
        return None
    kinds: tuple[tuple[May, str], ...] = (("path", "/"), ("space", " "), ("text", _METACHARACTERS + "é"))
    for kind, characters in kinds:
        if kind in may or "text" in may:
            continue
        examples = [f"{before}{each}{after}" for each in characters for before in _AROUND for after in _AROUND]
        for example in examples if kind != "path" else [*examples, ".."]:
            if pattern.fullmatch(example) is not None:
                return kind, example
    return None
