"""Search the documents of a workspace by words, with SQLite FTS5 in memory, ranked by BM25.

The index is built by the first search and updated by each later one: files with the same size and
modification time are not read again. A query consists of words, never FTS syntax. A document
matches if it has any of them; rare words have more weight.
"""

import re
import threading
from dataclasses import dataclass
from typing import Any

import apsw

from loom_agents._errors import ToolError
from loom_agents._workspace.jail import Workspace
from loom_agents._workspace.listing import ListedFile, walk
from loom_agents._workspace.read.doc_chunks import chunks

DOCUMENT_SUFFIXES = (".md", ".markdown", ".rst", ".txt", ".adoc")
MAX_DOCUMENT_BYTES = 2_000_000
MAX_LINE_CHARACTERS = 5_000  # a text with longer lines is generated, and would match every search
MAX_RESULTS = 50
SNIPPET_TOKENS = 24

# Words that occur in most questions and do not describe the subject.
_STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        """a an and are as at be been but by can could did do does for from had has have how i if in is it its me my
        no not of on or our please should show so some tell than that the their them then there these they this to us
        was we were what when where which who why will with work works would you your""",
    )
)


@dataclass(frozen=True, slots=True)
class _Weights:
    """The weights for BM25: a heading describes a chunk better than its text."""

    heading: float = 4.0
    path: float = 2.0
    text: float = 1.0


class DocumentSearch:
    """Search one workspace. Calls from several threads wait for each other."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._lock = threading.Lock()
        self._indexed: dict[str, ListedFile] = {}
        self._skipped: list[str] = []
        self._db: apsw.Connection | None = None

    def search_docs(self, query: str, offset: int = 0, limit: int = 8) -> dict[str, Any]:
        """Search README and documentation files by words; the best matches come first.

        Args:
            query: Words, in any order.
            offset: How many matches to skip.
            limit: How many matches, at most 50.
        """
        if offset < 0 or limit < 1:
            raise ToolError("cannot search: `offset` is at least 0 and `limit` at least 1.")
        words = query_words(query)
        with self._lock:
            db = self._refreshed()
            found = self._find(db, words, offset, min(limit, MAX_RESULTS)) if words else []
            total = self._count(db, words) if words else 0
            more = offset + len(found) < total
            answer: dict[str, Any] = {
                "matches": found,
                "documents": len(self._indexed),
                "total": total,
                "truncated": more,
                "next_offset": offset + len(found) if more else None,
            }
            if self._skipped:
                answer["skipped_documents"] = list(self._skipped)
        return answer

    def _refreshed(self) -> apsw.Connection:
        if self._db is None:
            self._db = apsw.Connection(":memory:")
            self._db.execute(
                "CREATE VIRTUAL TABLE chunk USING fts5("
                'heading, path, text, line UNINDEXED, tokenize = "porter unicode61 remove_diacritics 2")'
            )
        documents = {file.path: file for file in walk(self._workspace) if file.path.lower().endswith(DOCUMENT_SUFFIXES)}
        self._skipped = [file.path for file in documents.values() if file.size_bytes > MAX_DOCUMENT_BYTES]
        for path in self._skipped:
            del documents[path]
        with self._db:
            for path in self._indexed.keys() - documents.keys():
                self._forget(self._db, path)
            for path, file in documents.items():
                if self._indexed.get(path) != file:
                    self._forget(self._db, path)
                    self._add(self._db, file)
        return self._db

    def _forget(self, db: apsw.Connection, path: str) -> None:
        if self._indexed.pop(path, None):
            db.execute("DELETE FROM chunk WHERE path = ?", (path,))

    def _add(self, db: apsw.Connection, file: ListedFile) -> None:
        try:
            with self._workspace.open(file.path) as handle:
                data = handle.read(MAX_DOCUMENT_BYTES)
        except ToolError:
            return  # deleted or changed in the meantime; the next search reads it again
        is_generated = max(map(len, data.split(b"\n"))) > MAX_LINE_CHARACTERS
        if b"\0" not in data[:8192] and not is_generated:
            rows = [(c.heading, file.path, c.text, c.line) for c in chunks(data.decode("utf-8", "replace"))]
            db.executemany("INSERT INTO chunk (heading, path, text, line) VALUES (?, ?, ?, ?)", rows)
        self._indexed[file.path] = file

    def _find(self, db: apsw.Connection, words: list[str], offset: int, limit: int) -> list[dict[str, Any]]:
        weights = _Weights()
        rows = db.execute(
            "SELECT path, heading, line, text, -bm25(chunk, ?, ?, ?) AS score,"
            "  snippet(chunk, 2, '', '', ' ... ', ?) FROM chunk WHERE chunk MATCH ?"
            " ORDER BY score DESC, path, line LIMIT ? OFFSET ?",
            (weights.heading, weights.path, weights.text, SNIPPET_TOKENS, _match(words), limit, offset),
        )
        return [
            {
                "path": path,
                "line": line + best_line(text, words),
                "heading": heading,
                "snippet": " ".join(snippet.split()),
                "score": round(score, 3),
            }
            for path, heading, line, text, score, snippet in rows
        ]

    def _count(self, db: apsw.Connection, words: list[str]) -> int:
        count = db.execute("SELECT count(*) FROM chunk WHERE chunk MATCH ?", (_match(words),)).get
        assert isinstance(count, int)
        return count


def query_words(query: str) -> list[str]:
    """Return the words of a query, without stop words unless there are no others."""
    words = list(dict.fromkeys(re.findall(r"\w+", query.casefold())))[:64]
    return [word for word in words if word not in _STOP_WORDS] or words


def best_line(text: str, words: list[str]) -> int:
    """Return the index of the line with the most words of the query."""
    counts = [
        len({word for word in words if re.search(rf"\b{re.escape(word)}", line.casefold())})
        for line in text.split("\n")
    ]
    return counts.index(max(counts))


def _match(words: list[str]) -> str:
    return " OR ".join(f'"{word}"' for word in words)
