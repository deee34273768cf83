"""Read HTML: its text by headings, without scripts, styles and navigation.

The parser of the standard library is linear except for what is never closed, such as a comment. So
the text is fed in pieces, and what is still open at the end is dropped.
"""

import re
from html.parser import HTMLParser
from typing import Final

from loom_agents._search.read.chunk import Chunk, Sizes, split, without_secrets
from loom_agents._search.read.outcome import Limits, Skipped

_PIECE: Final = 1 << 16
_HIDDEN: Final = re.compile("script|style|noscript|template|svg|math|head|nav|select|button|iframe|object")
_BLOCK: Final = re.compile(
    "p|div|section|article|main|header|footer|aside|li|[uod]l|d[td]|table|tr|pre|blockquote|figure|br|hr|h[1-6]|form"
    "|fieldset|details|summary|address"
)
_HEADING: Final = re.compile(r"h([1-6])")
_MAX_TITLE: Final = 500
_SIGNS: Final = re.compile("[¶§#🔗]+$")


def chunks(text: str, sizes: Sizes, limits: Limits) -> list[Chunk] | Skipped:
    """Return the chunks of an HTML document."""
    reader = _Reader(limits.characters)
    for start in range(0, len(text), _PIECE):
        reader.feed(text[start : start + _PIECE])
        if reader.is_full:
            break
    if len(reader.rawdata) < _PIECE and not reader.is_full:
        reader.close()
    reader.end_section()
    found: list[Chunk] = []
    for heading, line, lines in reader.sections:
        shown = without_secrets("\n".join(lines)).split("\n")
        parts = split(shown, 1, len(shown) + 1, without_secrets(heading), sizes)
        found += [Chunk(part.heading, line, part.text, is_source=False) for part in parts]
    return found


class _Reader(HTMLParser):
    def __init__(self, max_characters: int) -> None:
        super().__init__(convert_charrefs=True)
        self.sections: list[tuple[str, int, list[str]]] = []
        self._room = max_characters
        self._trail: list[tuple[int, str]] = []
        self._level = 0  # of the heading that is being read
        self._title: list[str] = []
        self._hidden: list[str] = []
        self._heading, self._line = "", 1
        self._lines: list[str] = [""]
        self._is_pre = 0

    @property
    def is_full(self) -> bool:
        return self._room <= 0

    def end_section(self) -> None:
        lines = self._lines if self._is_pre else [line.rstrip() for line in self._lines]
        if any(line.strip() for line in lines):
            self.sections.append((self._heading, self._line, lines))
        self._lines = [""]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - of the base
        if self._hidden == ["head"]:
            if tag == "body":  # `</head>` may be left out
                self._hidden = []
            elif tag in ("title", "script", "style", "noscript", "template"):
                self._hidden.append(tag)
            return
        if self._hidden:
            if tag == self._hidden[-1]:
                self._hidden.append(tag)
            return
        if _HIDDEN.fullmatch(tag):
            self._hidden.append(tag)
        elif heading := _HEADING.fullmatch(tag):
            self.end_section()
            self._level, self._title, self._line = int(heading[1]), [], self.getpos()[0]
        elif _BLOCK.fullmatch(tag):
            self._lines += [] if tag == "br" else [""] if self._lines[-1] else []
            self._lines.append("")
        if tag == "pre":
            self._is_pre += 1

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - of the base
        if _BLOCK.fullmatch(tag) and not self._hidden:
            self._lines.append("")

    def handle_endtag(self, tag: str) -> None:
        if self._hidden:
            if tag == self._hidden[-1]:
                self._hidden.pop()
        elif self._level and _HEADING.fullmatch(tag):
            self._end_heading()
        elif _BLOCK.fullmatch(tag):
            self._lines += ["", ""] if self._lines[-1] else [""] if len(self._lines) > 1 and self._lines[-2] else []
        if tag == "pre" and self._is_pre:
            self._is_pre -= 1

    def handle_data(self, data: str) -> None:
        if self._hidden == ["head", "title"] and not self.sections and len(self._heading) + len(data) <= _MAX_TITLE:
            self._heading += " ".join(data.split())  # of what comes before the first heading
        if self._hidden or self.is_full:
            return
        self._room -= len(data)
        if self._level:
            self._title.append(data)
        elif self._is_pre:
            first, *rest = data.split("\n")
            self._lines[-1] += first
            self._lines += rest
        else:
            words = " ".join(data.split())
            is_apart = bool(self._lines[-1]) and data[:1].isspace() and not self._lines[-1].endswith(" ")
            self._lines[-1] += (" " if is_apart else "") + words + (" " if words and data[-1:].isspace() else "")

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        """Pass over `<![...]>`; the parser raises an error for one without a name."""
        try:
            return super().parse_marked_section(i, report)
        except AssertionError:
            return self.parse_bogus_comment(i)

    def _end_heading(self) -> None:
        title = _SIGNS.sub("", " ".join("".join(self._title).split())).strip()
        self._trail = [(level, name) for level, name in self._trail if level < self._level]
        self._trail.append((self._level, title))
        self._heading = " > ".join(name for _, name in self._trail)
        self._level = 0
        self._lines = [title, ""]
