"""Read docx: a ZIP archive with XML. Both are bounded: no document type, no entities, no more bytes
than the limit, whatever the archive says about itself.
"""

import io
import re
import zipfile
import zlib
from typing import Any
from xml.parsers import expat

from loom_agents._search.read.chunk import Chunk, Sizes, split, without_secrets
from loom_agents._search.read.outcome import Limits, Skipped

_PART = "word/document.xml"
_MAX_PARTS = 10_000
_BYTES_PER_CHARACTER = 10  # of XML, for each character of text
_MIN_BYTES = 1_000_000
_PIECE = 1 << 16
_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_STRICT = "{http://purl.oclc.org/ooxml/wordprocessingml/main}"
_HEADING = re.compile(r"(?:heading|überschrift|titre|título)?\s*([1-6])|(title)", re.IGNORECASE)


def chunks(data: bytes, sizes: Sizes, limits: Limits) -> list[Chunk] | Skipped:
    """Return the chunks of a docx document; their line is the number of the paragraph."""
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        return Skipped("it is encrypted, or of a format before docx")
    reader = _Paragraphs(limits.characters)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if len(archive.infolist()) > _MAX_PARTS:
                return Skipped("it has too many parts")
            part = archive.getinfo(_PART)
            if part.flag_bits & 1:
                return Skipped("it is encrypted")
            room = _MIN_BYTES + limits.characters * _BYTES_PER_CHARACTER
            with archive.open(part) as stream:
                while not reader.is_full and (piece := stream.read(_PIECE)):
                    room -= len(piece)
                    if room < 0:
                        return Skipped("its content is too large")
                    reader.feed(piece)
    except KeyError:
        return Skipped("it is broken: it has no text")
    except (zipfile.BadZipFile, zlib.error, expat.ExpatError, EOFError, NotImplementedError, ValueError, OSError):
        return Skipped("it declares a document type, which no docx needs" if reader.has_type else "it is broken")
    levels, texts = [level for level, _ in reader.paragraphs], [text for _, text in reader.paragraphs]
    shown = without_secrets("\n".join(texts)).split("\n")
    return list(_by_heading(list(zip(levels, shown, strict=True)), sizes))


def _by_heading(paragraphs: list[tuple[int, str]], sizes: Sizes) -> list[Chunk]:
    found: list[Chunk] = []
    trail: list[tuple[int, str]] = []
    begin = 0
    for index in range(len(paragraphs) + 1):
        if index < len(paragraphs) and not paragraphs[index][0]:
            continue
        lines = [line for _, text in paragraphs[begin:index] for line in (text, "")]
        parts = split(lines, 1, len(lines) + 1, " > ".join(name for _, name in trail), sizes)
        found += [Chunk(part.heading, begin + 1 + (part.line - 1) // 2, part.text, is_source=False) for part in parts]
        if index < len(paragraphs):
            level, title = paragraphs[index]
            trail = [(other, name) for other, name in trail if other < level]
            trail.append((level, " ".join(title.split())))
            begin = index
    return found


class _Paragraphs:
    """Collect the paragraphs of `word/document.xml`, each with the level of its heading or 0."""

    def __init__(self, max_characters: int) -> None:
        self.paragraphs: list[tuple[int, str]] = []
        self.has_type = False
        self._room = max_characters
        self._level = 0
        self._text: list[str] | None = None
        self._is_text = False
        self._parser = expat.ParserCreate(namespace_separator="}")
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.StartDoctypeDeclHandler = self._type

    @property
    def is_full(self) -> bool:
        return self._room <= 0

    def feed(self, piece: bytes) -> None:
        self._parser.Parse(piece, False)

    def _type(self, *_: Any) -> None:
        self.has_type = True
        raise ValueError("a document type")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        match _local(tag):
            case "p":
                self._level, self._text = 0, []
            case "pStyle":
                style = next((value for name, value in attributes.items() if name.endswith("}val")), "")
                if heading := _HEADING.fullmatch(style):
                    self._level = int(heading[1] or 1)
            case "t":
                self._is_text = True
            case "tab" | "br" | "cr" if self._text is not None:
                self._text.append(" ")

    def _end(self, tag: str) -> None:
        match _local(tag):
            case "t":
                self._is_text = False
            case "p" if self._text is not None:
                text = "".join(self._text).replace("\n", " ")  # white space, as any other
                if text.strip():
                    self.paragraphs.append((self._level, text))
                self._text = None

    def _characters(self, text: str) -> None:
        if self._is_text and self._text is not None and not self.is_full:
            self._room -= len(text)
            self._text.append(text)


def _local(tag: str) -> str:
    space, _, name = tag.rpartition("}")
    return name if f"{{{space}}}" in (_WORD, _STRICT) else ""
