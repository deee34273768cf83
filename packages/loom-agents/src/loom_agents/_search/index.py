"""The index of documents: refresh, search, health."""

import contextlib
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

import apsw

from loom_agents._errors import SearchError
from loom_agents._search.database import LOCK_TIMEOUT_S, IndexDatabase, is_damage
from loom_agents._search.files import Files
from loom_agents._search.ranking import MAX_RESULTS, ranked
from loom_agents._search.read.chunk import MAX_CHUNK_CHARACTERS, Sizes
from loom_agents._search.read.outcome import Limits
from loom_agents._search.refresh import Progress, Refresher, skipped_files
from loom_agents._search.results import Difference, IndexHealth, IndexReport, SearchResult
from loom_agents._search.vectors.embeddings import Embeddings
from loom_agents._search.vectors.stored import StoredVectors
from loom_agents._search.versions import compared, difference, read_text

_NEAREST: Final = 100
_T = TypeVar("_T")


class SearchIndex:
    """An index of some files. Calls from several threads wait for each other.

    Args:
        database: Where it is stored; None keeps it in memory.
        files: Lists and opens the files.
        origin: Identifies the folder of the files.
    """

    def __init__(
        self,
        database: Path | None,
        files: Files,
        *,
        origin: str = "",
        vectors: Embeddings | None = None,
        chunk_size: int = MAX_CHUNK_CHARACTERS,
        chunk_overlap: int = 0,
        lock_timeout_s: float = LOCK_TIMEOUT_S,
        limits: Limits | None = None,
    ) -> None:
        if chunk_size < 100 or not 0 <= chunk_overlap <= chunk_size // 2:
            raise SearchError(
                f"cannot make chunks of {chunk_size} characters that overlap by {chunk_overlap}: the size is at least"
                " 100, the overlap at most half of it."
            )
        self._lock = threading.RLock()
        self._database = IndexDatabase(database, lock_timeout_s=lock_timeout_s)
        self._vectors = None if vectors is None else StoredVectors(self._database, vectors)
        sizes = Sizes(chunk_size, chunk_overlap)
        self._files = files
        self._limits = limits or Limits()
        self._refresher = Refresher(self._database, files, origin, sizes, self._limits)

    def close(self) -> None:
        """Close the database. Closing twice is harmless."""
        with self._lock:
            self._database.close()

    def refresh(
        self, progress: Progress | None = None, *, paths: Iterable[str] | None = None, force: bool = False
    ) -> IndexReport:
        """Bring the index up to date with the files.

        Args:
            progress: Called after each file that was read with how many were read, how many there
                are to read, and the path. An error that it raises stops the refresh and is passed
                on; what was written until then stays.
            paths: Only these files, and the files in these folders, relative to the root.
            force: Read and index files that seem unchanged, too.

        Raises:
            SearchError: The folder is gone (the index is kept), or the database is locked or cannot
                be written.

        Durability: a batch of files is in the database when its transaction ends. A process that is
            killed leaves whole files; the next refresh continues.
        """
        chosen = None if paths is None else list(paths)
        return self._healed(lambda: self._refresh(progress, chosen, force=force))

    def _refresh(self, progress: Progress | None, paths: list[str] | None, *, force: bool) -> IndexReport:
        report = self._refresher.refresh(progress, paths, force=force)
        reasons = [self._database.rebuilt, report.rebuilt]
        self._database.rebuilt = None
        if self._vectors is not None:
            status, why = self._vectors.add_missing()
            reasons.append(why)
            report = replace(report, vectors=status)
        return replace(report, rebuilt="; ".join(filter(None, reasons)) or None)

    def search(self, query: str, limit: int = 8, offset: int = 0) -> SearchResult:
        """Return the parts of documents that match a query best.

        It searches what the last refresh found; call `refresh` first for what is there now.

        Args:
            query: Words, in any order; never syntax.
            limit: How many matches, at most 200.
            offset: How many matches to skip.

        Raises:
            SearchError: The numbers are not valid, or the database cannot be read.
        """
        if offset < 0 or limit < 1:
            raise SearchError("cannot search: `offset` is at least 0 and `limit` at least 1.")
        return self._healed(lambda: self._search(query, min(limit, MAX_RESULTS), offset))

    def _search(self, query: str, limit: int, offset: int) -> SearchResult:
        notes: tuple[str, ...] = ()
        near: list[int] | None = None
        if self._vectors is not None and query.strip():
            found = self._vectors.nearest(query, max(_NEAREST, offset + limit))
            if isinstance(found, str):
                notes = (found,)
            else:
                near, notes = found
        if self._database.rebuilt is not None:
            notes = (*notes, f"the index was made again: {self._database.rebuilt}")
        with self._database.snapshot():
            return ranked(self._database, query, near, limit=limit, offset=offset, notes=notes)

    def text(self, path: str) -> str:
        """Return the text of a document as it is now; of HTML, PDF and docx what was converted.

        Raises:
            SearchError: The path may not be shown, there is no such document, or it cannot be read.
        """
        return read_text(self._files, self._refresher.relative(path), self._limits)

    def difference(self, path: str, other: str | None = None) -> Difference:
        """Return what changed in a document since the version before, or what differs in another.

        The version before is what the index had before it last saw a change. It is lost when the
        index is made again.

        Args:
            path: A document, which is indexed now; also one that was removed.
            other: Another document, to compare the texts of both as they are now.

        Raises:
            SearchError: As for `text`.
        """
        path = self._refresher.relative(path)
        if other is not None:
            other = self._refresher.relative(other)
            return Difference(path, other, None, compared(self.text(path), self.text(other), path, other))
        self.refresh(paths=[path])
        return self._healed(lambda: difference(self._database, path))

    def health(self) -> IndexHealth:
        """Return the state of the index."""
        return self._healed(self._health)

    def _health(self) -> IndexHealth:
        def number(sql: str) -> int:
            return int(self._database.value(sql))

        meta: dict[str, Any] = dict(self._database.rows("SELECT key, value FROM loom_search_meta"))
        return IndexHealth(
            database=None if self._database.path is None else str(self._database.path),
            size_bytes=number("PRAGMA page_count") * number("PRAGMA page_size"),
            files=number("SELECT count(*) FROM loom_search_file WHERE skipped IS NULL"),
            chunks=number("SELECT count(*) FROM loom_search_chunk"),
            skipped=tuple(skipped_files(self._database)),
            refreshed_at=meta.get("refreshed_at"),
            rebuilt=self._database.rebuilt,
            embeddings=meta.get("embeddings"),
            dimensions=int(meta.get("dimensions", 0)),
            vectors=number("SELECT count(*) FROM loom_search_vector"),
        )

    def _healed(self, action: Callable[[], _T]) -> _T:
        """Do something with the database; if it is damaged or another file, begin a new index,
        once.

        A new index is filled first, because an empty answer would be a wrong one.
        """
        with self._lock:
            is_new = self._database.check_file()
            try:
                if not is_new:
                    with self._database.errors("use"):
                        return action()
            except apsw.Error as exc:
                if not is_damage(exc):
                    raise
                self._database.replace_damaged("it is damaged")
            with contextlib.suppress(SearchError):
                self._refresher.refresh(None, None, force=False)
            with self._database.errors("use"):
                return action()
