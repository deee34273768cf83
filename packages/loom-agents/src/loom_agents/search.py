"""Search documents by words, and by vectors if there are any.

    from pathlib import Path

    from loom_agents.search import DocumentIndex

    with DocumentIndex(Path("index.sqlite"), Path("docs")) as index:
        index.refresh()
        for match in index.search("how do I resume a run?").matches:
            print(match.path, match.line, match.heading, match.snippet)

A program that keeps words in an FTS5 table of its own, such as a memory, gets the same answers with
the other functions: the table has the tokenizer `TOKENIZER` and a column for `split_names(text)`; a
query is
`WHERE words MATCH match_expression(query) AND rank MATCH rank_function(...) ORDER BY rank`.
"""

import os
from pathlib import Path
from types import TracebackType
from typing import Self

from loom_agents._errors import EmbeddingsError, SearchError, WorkspaceError
from loom_agents._search.database import LOCK_TIMEOUT_S
from loom_agents._search.index import SearchIndex
from loom_agents._search.ranking import rank_texts
from loom_agents._search.read.chunk import MAX_CHUNK_CHARACTERS
from loom_agents._search.read.outcome import Limits
from loom_agents._search.refresh import Progress
from loom_agents._search.results import Difference, IndexHealth, IndexReport, SearchMatch, SearchResult, SkippedFile
from loom_agents._search.vectors.embeddings import Embeddings
from loom_agents._search.vectors.served import ServedEmbeddings
from loom_agents._search.vectors.word_llama import WordLlamaEmbeddings
from loom_agents._search.words import (
    TOKENIZER,
    best_line,
    match_expression,
    query_words,
    rank_function,
    snippet,
    split_names,
)
from loom_agents._workspace.document_files import WorkspaceFiles
from loom_agents._workspace.jail import Workspace

__all__ = [
    "TOKENIZER",
    "Difference",
    "DocumentIndex",
    "Embeddings",
    "EmbeddingsError",
    "IndexHealth",
    "IndexReport",
    "Limits",
    "Progress",
    "SearchError",
    "SearchMatch",
    "SearchResult",
    "ServedEmbeddings",
    "SkippedFile",
    "WordLlamaEmbeddings",
    "best_line",
    "match_expression",
    "query_words",
    "rank_function",
    "rank_texts",
    "snippet",
    "split_names",
]


class DocumentIndex(SearchIndex):
    """The index of the documents in one folder.

    Not indexed are: files that `.gitignore` excludes, links, files that hold secrets by their
    names, and the database itself. Not for use after a fork.

    Args:
        database: The file of the index, which holds nothing that cannot be made again: a damaged
            one is renamed and made again. It must not be a file of another program. None keeps the
            index in memory.
        root: The folder of the documents.
        vectors: Embeddings, for a ranking by meaning in addition.
        chunk_size: The number of characters after which a part of a document ends at the next blank
            line.
        chunk_overlap: How many characters of a part its successor under the same heading repeats.
        lock_timeout_s: How many seconds to wait for another process that writes.
        limits: The largest files that are read.

    Raises:
        SearchError: The folder is not there, or the database cannot be used.
    """

    def __init__(
        self,
        database: Path | None,
        root: Path,
        *,
        vectors: Embeddings | None = None,
        chunk_size: int = MAX_CHUNK_CHARACTERS,
        chunk_overlap: int = 0,
        lock_timeout_s: float = LOCK_TIMEOUT_S,
        limits: Limits | None = None,
    ) -> None:
        try:
            workspace = Workspace.at(root)
        except WorkspaceError as exc:
            raise SearchError(f"cannot index {root}: there is no such folder. Name the folder of documents.") from exc
        if database is not None and Path(os.path.realpath(database)).is_relative_to(workspace.root):
            workspace = Workspace.at(root, private=(database,))
        super().__init__(
            database,
            WorkspaceFiles(workspace),
            origin=os.fspath(workspace.root),
            vectors=vectors,
            chunk_size=chunk_size,
            chunk_overlap=chunk_overlap,
            lock_timeout_s=lock_timeout_s,
            limits=limits,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
