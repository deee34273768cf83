"""The tool that searches the documents of a workspace, with an index in memory.

The index is built by the first search and updated by each later one: files with the same size and
modification time are not read again.
"""

import threading
from typing import Any

from loom_agents._errors import ToolError
from loom_agents._search.index import SearchIndex
from loom_agents._search.read.outcome import Limits
from loom_agents._workspace.document_files import WorkspaceFiles
from loom_agents._workspace.jail import Workspace

DOCUMENT_SUFFIXES = (".md", ".markdown", ".rst", ".txt", ".adoc")
MAX_DOCUMENT_BYTES = 2_000_000
MAX_RESULTS = 50


class DocumentSearch:
    """Search one workspace. Calls from several threads wait for each other."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._lock = threading.Lock()
        self._opened: SearchIndex | None = None

    def search_docs(self, query: str, offset: int = 0, limit: int = 8) -> dict[str, Any]:
        """Search README and documentation files by words; the best matches come first.

        Args:
            query: Words, in any order.
            offset: How many matches to skip.
            limit: How many matches, at most 50.
        """
        if offset < 0 or limit < 1:
            raise ToolError("cannot search: `offset` is at least 0 and `limit` at least 1.")
        index = self._index()
        report = index.refresh()
        found = index.search(query, min(limit, MAX_RESULTS), offset)
        answer: dict[str, Any] = {
            "matches": [
                {
                    "path": match.path,
                    "line": match.line,
                    "heading": match.heading,
                    "snippet": match.snippet,
                    "score": match.score,
                }
                for match in found.matches
            ],
            "documents": len(report.added) + len(report.changed) + report.unchanged,
            "total": found.total,
            "truncated": found.truncated,
            "next_offset": offset + len(found.matches) if found.truncated else None,
        }
        if report.skipped:
            answer["skipped_documents"] = [skipped.path for skipped in report.skipped]
        return answer

    def _index(self) -> SearchIndex:
        with self._lock:
            if self._opened is None:
                files = WorkspaceFiles(self._workspace, DOCUMENT_SUFFIXES)
                limits = Limits(text_bytes=MAX_DOCUMENT_BYTES)
                self._opened = SearchIndex(None, files, limits=limits)
            return self._opened
