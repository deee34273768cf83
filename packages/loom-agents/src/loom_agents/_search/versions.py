"""The text of documents: as a file has it now, as it is indexed, and as it was before.

When the text of an indexed file changes, or the file is removed, what the index had is kept as its
earlier version, one for each path. Texts are compared without the blank lines between the parts of
a document, as the index keeps them.
"""

import difflib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

import apsw

from loom_agents._errors import SearchError, ToolError
from loom_agents._search.database import IndexDatabase
from loom_agents._search.files import Files
from loom_agents._search.read.chunk import Chunk, Sizes
from loom_agents._search.read.document import decoded, is_plain, max_bytes, missing_for, read_document, reader_of
from loom_agents._search.read.outcome import Limits, Skipped
from loom_agents._search.results import Difference

MAX_CHARACTERS: Final = 1_000_000
_WHOLE: Final = Sizes(chunk=MAX_CHARACTERS)
_INDEXED: Final = """
    SELECT c.line, w.text, c.is_source FROM loom_search_chunk c JOIN loom_search_words w ON w.rowid = c.id
    WHERE c.file = ? ORDER BY c.id
"""
_FILE: Final = "SELECT id FROM loom_search_file WHERE path = ? AND skipped IS NULL"
_KEEP: Final = """
    INSERT INTO loom_search_earlier (path, text, replaced_at) VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET text = excluded.text, replaced_at = excluded.replaced_at
"""
_EARLIER: Final = "SELECT text, replaced_at FROM loom_search_earlier WHERE path = ?"


def keep_version(db: apsw.Connection, path: str, file: int, content: Sequence[Chunk]) -> None:
    """Keep what the index has of a file as its earlier version, if the new content is another."""
    before = _text((int(line), str(text), bool(plain)) for line, text, plain in db.execute(_INDEXED, (file,)))
    if before and before != _text((chunk.line, chunk.text, chunk.is_source) for chunk in content):
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        db.execute(_KEEP, (path, before[:MAX_CHARACTERS], now))


def difference(database: IndexDatabase, path: str) -> Difference:
    """Return what changed between the earlier version of a file and the one that is indexed."""
    row = database.value(_FILE, (path,))
    now = (
        "" if row is None else _text((line, text, bool(plain)) for line, text, plain in database.rows(_INDEXED, (row,)))
    )
    earlier = database.rows(_EARLIER, (path,))
    if not earlier:
        if row is None:
            raise SearchError(
                f"cannot compare {path!r}: it is not in the index, because it is ignored, skipped or no document."
            )
        return Difference(path, path, None, "")
    before, replaced_at = earlier[0]
    return Difference(path, path, replaced_at, compared(before, now[:MAX_CHARACTERS], f"{path} (before)", path))


def compared(before: str, after: str, before_name: str, after_name: str) -> str:
    """Return a unified diff of two texts; an empty text when they are equal."""
    old, new = (text.split("\n") if text else [] for text in (before, after))
    return "\n".join(difflib.unified_diff(old, new, before_name, after_name, lineterm=""))


def read_text(files: Files, path: str, limits: Limits) -> str:
    """Return the text of a file: of a plain one as it is, of others as it is converted.

    Raises:
        SearchError: The path may not be shown, there is no such file, or it cannot be read.
    """

    def refused(why: str) -> SearchError:
        return SearchError(f"cannot read {path!r}: {why.rstrip('.')}.")

    found = [file for file in files.walk(path) if file.path == path]
    if not found:
        raise refused("there is no such document, or it is a folder or ignored")
    reader = reader_of(path)
    if reader is None:
        raise refused("files of this kind are not documents")
    limit = max_bytes(reader, limits)
    if found[0].size_bytes > limit:
        raise refused(f"it is larger than {limit:,} bytes")
    missing = missing_for(reader)
    if missing is not None:
        raise refused(missing.why)
    try:
        with files.open(path) as handle:
            data = handle.read(limit)
    except (OSError, ToolError) as exc:
        raise refused(getattr(exc, "strerror", None) or str(exc)) from exc
    if is_plain(reader):
        text = decoded(data)
        if text is None:
            raise refused("it is binary, not text")
        return text
    content = read_document(reader, data, _WHOLE, limits)
    if isinstance(content, Skipped):
        raise refused(content.why)
    return _text((chunk.line, _with_heading(chunk), False) for chunk in content)


def _with_heading(chunk: Chunk) -> str:
    last = chunk.heading.rpartition(" > ")[2]
    return chunk.text if not last or chunk.text.startswith(last) else f"[{last}]\n{chunk.text}"


def _text(chunks: Iterable[tuple[int, str, bool]]) -> str:
    """Join the texts of chunks, given as line, text, and whether the lines are those of the file;
    what two chunks share is not repeated.
    """
    lines: list[str] = []
    for first, text, is_source in chunks:
        more = text.split("\n")
        if not is_source:
            lines += ["", *more] if lines else more
            continue
        start = first - 1
        lines += [""] * (start - len(lines))
        lines[start : start + len(more)] = more
    return "\n".join(lines)
