"""What the index returns: matches, and reports of a refresh and of its state."""

from dataclasses import dataclass
from typing import Literal

Mode = Literal["lexical", "hybrid"]


@dataclass(frozen=True, slots=True)
class SearchMatch:
    """One part of a document that matches.

    Args:
        path: The file, relative to the root.
        heading: The headings above the part, joined by ` > `; in code the definition, in a PDF
            `page 3`.
        line: The line of the file with the most words of the query, from 1; for PDF the page, for
            other converted files (HTML, docx) the line or paragraph where the part begins.
        score: Larger is better. Scores of different queries cannot be compared.
        snippet: The words around the match, on one line.
        mode: How it was ranked: by words (`lexical`), or by words and vectors (`hybrid`).
    """

    path: str
    heading: str
    line: int
    score: float
    snippet: str
    mode: Mode


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The answer to one query.

    Args:
        matches: The best first.
        total: How many parts match. In `hybrid` mode: how many were ranked.
        truncated: Whether there are more matches after these.
        notes: What the reader of the answer should know, such as `the embeddings server does not
            answer; these matches are by words only`.
    """

    matches: tuple[SearchMatch, ...]
    total: int
    truncated: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """A file that is not in the index, and why."""

    path: str
    why: str


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What a refresh did.

    Args:
        added: The paths of new files.
        changed: The paths of files with another content than before.
        removed: The paths that are no longer there (or no longer shown, or no longer readable).
        unchanged: How many files have the same content as before.
        skipped: The files that are not in the index, each with the reason; also those that were
            skipped by an earlier refresh.
        ignored: How many files were passed over because of their kind, such as images.
        rebuilt: Why everything was indexed again; None when it was not.
        vectors: The state of the vectors, in words; `off` without embeddings.
    """

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unchanged: int = 0
    skipped: tuple[SkippedFile, ...] = ()
    ignored: int = 0
    rebuilt: str | None = None
    vectors: str = "off"


@dataclass(frozen=True, slots=True)
class IndexHealth:
    """The state of an index.

    Args:
        database: The path of the database; None when it is in memory.
        size_bytes: The size of the database.
        files: How many files are indexed.
        chunks: How many parts of files are indexed.
        skipped: The files that are not in the index, each with the reason.
        refreshed_at: When everything was last refreshed (UTC, ISO 8601), up to a minute too early;
            None before.
        rebuilt: Why the index was made anew when it was opened; None when it was not.
        embeddings: The id of the embeddings that made the vectors; None without.
        dimensions: The number of dimensions of the vectors; 0 without.
        vectors: How many parts have a vector.
    """

    database: str | None
    size_bytes: int
    files: int
    chunks: int
    skipped: tuple[SkippedFile, ...]
    refreshed_at: str | None
    rebuilt: str | None
    embeddings: str | None
    dimensions: int
    vectors: int


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between two texts.

    Args:
        before: The path of the first document.
        after: The path of the second one; the same when two versions are compared.
        replaced_at: When the index saw the change between the versions (UTC, ISO 8601); None when
            no earlier version is known, or two documents were compared.
        diff: A unified diff; an empty text when nothing differs.
    """

    before: str
    after: str
    replaced_at: str | None
    diff: str
