"""The documents: search, read, compare and index them."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from loom_agents.redaction import MASK, shown_line, shown_lines, shown_text
from loom_agents.search import (
    DocumentIndex,
    Embeddings,
    IndexReport,
    SearchError,
    SearchMatch,
    ServedEmbeddings,
    SkippedFile,
    WordLlamaEmbeddings,
)

from docs_memory_mcp._errors import CallError
from docs_memory_mcp.settings import MAX_TOP_K, Settings

__all__ = ["Found", "Health", "Library", "Page", "Report", "TextDifference"]

MAX_LINES: Final = 2_000
MAX_CHARACTERS: Final = 60_000
MAX_PATHS: Final = 100


@dataclass(frozen=True)
class Found:
    """Parts of documents that match a query.

    Args:
        matches: The best first.
        total: How many parts match.
        truncated: Whether there are more.
        notes: What the reader of the answer should know, such as why it is by words only.
    """

    matches: list[SearchMatch]
    total: int
    truncated: bool
    notes: list[str]

    def as_text(self) -> str:
        """Return two lines for each match."""
        lines = [
            line
            for each in self.matches
            for line in (f"{each.path}:{each.line}: {each.heading}".removesuffix(": "), f"    {each.snippet}")
        ]
        lines.append(f"[{len(self.matches)} of {self.total} matches]")
        return "\n".join([*lines, *(f"[{note}]" for note in self.notes)])


@dataclass(frozen=True)
class Page:
    """Lines of a document.

    Args:
        path: The document, relative to the root.
        text: The lines; secrets are masked, and control characters shown as escapes.
        is_exact: Whether `text` is exactly what the document has there; False wherever it has a
            mask, be it of the document itself.
        first_line: The number of the first line, from 1.
        total_lines: How many the document has.
        next_line: Give this as `first_line` to read on; None at the end.
    """

    path: str
    text: str
    is_exact: bool
    first_line: int
    total_lines: int
    next_line: int | None

    def as_text(self) -> str:
        """Return the lines, and a last one in brackets when some are left out."""
        if self.next_line is None:
            return self.text
        which = f"lines {self.first_line} to {self.next_line - 1} of {self.total_lines}"
        return f"{self.text}\n[{which}; first_line={self.next_line} reads on]"


@dataclass(frozen=True)
class TextDifference:
    """What differs between two versions of a document, or between two documents.

    Args:
        before: The path of the first document.
        after: The path of the second one; the same when two versions are compared.
        replaced_at: When the index saw the change (UTC, ISO 8601); None when no earlier version is
            known, or two documents were compared.
        diff: A unified diff; an empty text when nothing differs.
        truncated: Whether the end of the diff is left out.
    """

    before: str
    after: str
    replaced_at: str | None
    diff: str
    truncated: bool

    def as_text(self) -> str:
        """Return the diff, or why there is none."""
        if self.diff:
            return f"{self.diff}\n[the diff is longer]" if self.truncated else self.diff
        if self.before != self.after:
            return "[the documents do not differ]"
        return "[no earlier version is known]" if self.replaced_at is None else "[the versions do not differ]"


@dataclass(frozen=True)
class Report:
    """What indexing did. Of each list at most 100 paths are named.

    Args:
        added: How many documents are new.
        changed: How many have another content than before.
        removed: How many are no longer there.
        unchanged: How many are as before.
        paths: The paths that were added, changed or removed.
        skipped: Documents that are not in the index, each with the reason.
        rebuilt: Why everything was indexed again; None when it was not.
        vectors: The state of the vectors; `off` without embeddings.
    """

    added: int
    changed: int
    removed: int
    unchanged: int
    paths: list[str]
    skipped: list[SkippedFile]
    rebuilt: str | None
    vectors: str

    def as_text(self) -> str:
        """Return the counts, what changed, and what is left out."""
        counts = f"{self.added} added, {self.changed} changed, {self.removed} removed, {self.unchanged} unchanged"
        lines = [f"{counts}; vectors: {self.vectors}"]
        if self.rebuilt:
            lines.append(f"indexed again: {self.rebuilt}")
        lines += self.paths
        lines += [f"skipped {each.path}: {each.why}" for each in self.skipped]
        return "\n".join(lines)


@dataclass(frozen=True)
class Health:
    """The state of documents and index.

    Args:
        status: `ok`, or `degraded` when `problems` has something.
        problems: What is wrong, each with what to do.
        root: The folder of the documents.
        database: The file of the index.
        size_bytes: Its size.
        documents: How many documents are indexed.
        parts: How many parts of documents.
        skipped: The documents that are not in the index, each with the reason; at most 100.
        refreshed_at: When everything was last compared with the files (UTC, ISO 8601); None before
            the first search.
        embeddings: What made the vectors; None without.
        vectors: How many parts have a vector.
        memory_database: The file of the memory.
        facts: How many facts are valid.
    """

    status: str
    problems: list[str]
    root: str
    database: str
    size_bytes: int
    documents: int
    parts: int
    skipped: list[SkippedFile]
    refreshed_at: str | None
    embeddings: str | None
    vectors: int
    memory_database: str
    facts: int

    def as_text(self) -> str:
        """Return one line for each property."""
        vectors = f"{self.vectors} vectors of {self.embeddings}" if self.embeddings else "no vectors (set EMBED_MODEL)"
        lines = [
            f"{self.status}: {self.documents} documents of {self.root} in {self.parts} parts, {vectors}",
            f"index {self.database}, {self.size_bytes} bytes, refreshed {self.refreshed_at or 'never'}",
            f"memory {self.memory_database}, {self.facts} facts",
        ]
        lines += [f"problem: {each}" for each in self.problems]
        return "\n".join([*lines, *(f"skipped {each.path}: {each.why}" for each in self.skipped)])


class Library:
    """The documents of one root. The index is opened by the first call."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._opened: DocumentIndex | None = None

    def close(self) -> None:
        """Close the index. Closing twice is harmless."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    def search(
        self, query: str, top_k: int | None = None, progress: Callable[[int, int, str], None] | None = None
    ) -> Found:
        """Return the parts of documents that match a query best, of the documents as they are now.

        When they cannot be read now, the answer is from the index, and a note says so.

        Raises:
            SearchError: The index cannot be used.
            CallError: There is no query, or `top_k` is not 1 to 50.
        """
        count = self._settings.top_k if top_k is None else top_k
        if not 1 <= count <= MAX_TOP_K:
            raise CallError(f"cannot return {count} matches: top_k is 1 to {MAX_TOP_K}.")
        if not query.strip():
            raise CallError("cannot search without words: the query is empty.")
        index = self._index()
        notes = []
        try:
            report = index.refresh(progress)
        except SearchError as exc:
            notes.append(f"these matches may be old: {exc}")
        else:
            if report.rebuilt:
                notes.append(f"the index was made again: {report.rebuilt}")
            if report.vectors.startswith("incomplete"):
                notes.append(f"vectors are {report.vectors}")
        found = index.search(query, count)
        if not found.matches and not index.health().files:
            notes.append(f"no documents are indexed: {self._settings.root} has none that can be read")
        matches = [
            replace(
                each,
                path=shown_line(each.path),
                heading=shown_line(each.heading),
                snippet=shown_line(each.snippet),
            )
            for each in found.matches
        ]
        return Found(matches, found.total, found.truncated, [shown_line(note) for note in (*notes, *found.notes)])

    def read(self, path: str, first_line: int = 1, max_lines: int = 400) -> Page:
        """Return lines of a document, at most 60,000 characters of them.

        Raises:
            SearchError: The path may not be shown, there is no such document, or it cannot be read.
            CallError: The numbers are not valid.
        """
        if first_line < 1 or not 1 <= max_lines <= MAX_LINES:
            raise CallError(f"cannot read: first_line is at least 1, max_lines 1 to {MAX_LINES}.")
        whole = self._index().text(path).removesuffix("\n")
        exact, lines = whole.split("\n"), shown_lines(whole)
        if first_line > len(lines):
            raise CallError(f"cannot read {path!r} from line {first_line}: it has {len(lines)} lines.")
        taken: list[str] = []
        size = 0
        for line in lines[first_line - 1 : first_line - 1 + max_lines]:
            size += len(line) + 1
            if taken and size > MAX_CHARACTERS:
                break
            taken.append(line)
        after = first_line + len(taken)
        shown = "\n".join(taken)[:MAX_CHARACTERS]
        # The text of a converted document (docx, HTML, PDF) has its secrets masked already.
        is_exact = MASK not in shown and shown == "\n".join(exact[first_line - 1 : after - 1])
        return Page(path, shown, is_exact, first_line, len(lines), after if after <= len(lines) else None)

    def difference(self, path: str, other: str | None = None) -> TextDifference:
        """Compare a document with its earlier version, or with another document.

        Raises:
            SearchError: A path may not be shown, or the document cannot be read.
        """
        found = self._index().difference(path, other)
        diff = shown_text(found.diff)
        is_long = len(diff) > MAX_CHARACTERS
        return TextDifference(found.before, found.after, found.replaced_at, diff[:MAX_CHARACTERS], is_long)

    def index_file(self, path: str, progress: Callable[[int, int, str], None] | None = None) -> Report:
        """Index one document, or the documents in one folder, now.

        Raises:
            SearchError: The path may not be shown, or the index cannot be written.
            CallError: There is no such document.
        """
        report = self._index().refresh(progress, paths=[path], force=True)
        if not (report.added or report.changed or report.removed or report.unchanged or report.skipped):
            raise CallError(
                f"cannot index {path!r}: there is no such document, or it is ignored. Name one in the root."
            )
        return _report(report)

    def reindex(self, *, force: bool = False, progress: Callable[[int, int, str], None] | None = None) -> Report:
        """Bring the index up to date; with `force`, read and index every document again.

        Raises:
            SearchError: The root is gone (the index is kept), or the index cannot be written.
        """
        return _report(self._index().refresh(progress, force=force))

    def health(self, facts: int) -> Health:
        """Return the state of the index. Nothing is indexed.

        Raises:
            SearchError: The index cannot be used.
        """
        settings = self._settings
        found = self._index().health()
        problems = []
        if not settings.root.is_dir():
            problems.append(f"{settings.root} is not there: bring it back; the index is kept")
        elif found.refreshed_at is None:
            problems.append("nothing is indexed yet: call docs_search or docs_reindex")
        if found.rebuilt:
            problems.append(f"the index was made again: {found.rebuilt}")
        if settings.embed_model and found.refreshed_at and found.vectors < found.chunks:
            problems.append(f"{found.chunks - found.vectors} parts have no vector: call docs_reindex to see why")
        return Health(
            "degraded" if problems else "ok",
            problems,
            str(settings.root),
            str(settings.db),
            found.size_bytes,
            found.files,
            found.chunks,
            _shown(found.skipped),
            found.refreshed_at,
            found.embeddings,
            found.vectors,
            str(settings.memory_db),
            facts,
        )

    def _index(self) -> DocumentIndex:
        with self._lock:
            if self._opened is None:
                self._opened = _open_index(self._settings)
            return self._opened


def _open_index(settings: Settings) -> DocumentIndex:
    vectors: Embeddings | None = None
    if settings.embed_model == "wordllama":
        vectors = WordLlamaEmbeddings()
    elif settings.embed_model:
        vectors = ServedEmbeddings(settings.embed_url, settings.embed_model, api_key=settings.embed_api_key)
    try:
        settings.db.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise SearchError(f"cannot make the folder {settings.db.parent}: {exc.strerror}. Name another --db.") from exc
    return DocumentIndex(
        settings.db,
        settings.root,
        vectors=vectors,
        chunk_size=settings.chunk_size,
        chunk_overlap=settings.chunk_overlap,
    )


def _report(report: IndexReport) -> Report:
    paths = [*report.added, *report.changed, *report.removed]
    return Report(
        len(report.added),
        len(report.changed),
        len(report.removed),
        report.unchanged,
        [shown_line(path) for path in paths[:MAX_PATHS]],
        _shown(report.skipped),
        report.rebuilt,
        report.vectors,
    )


def _shown(skipped: tuple[SkippedFile, ...]) -> list[SkippedFile]:
    return [SkippedFile(shown_line(each.path), shown_line(each.why)) for each in skipped[:MAX_PATHS]]
