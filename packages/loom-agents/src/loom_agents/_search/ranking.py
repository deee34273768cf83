"""Rank the chunks of an index for a query: by words with BM25, and by vectors if there are any.

Two rankings are fused by their ranks, not their scores, which cannot be compared: the score of a
chunk is the sum of `1 / (60 + rank)` over the rankings that it is in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from loom_agents._search.database import IndexDatabase
from loom_agents._search.results import Mode, SearchMatch, SearchResult
from loom_agents._search.words import best_line, match_terms, query_words, snippet

MAX_RESULTS: Final = 200
_POOL: Final = 100
_FUSION: Final = 60
_LEXICAL: Final = """
    SELECT rowid, -rank FROM loom_search_words WHERE loom_search_words MATCH ? AND rank MATCH ? ORDER BY rank LIMIT ?
"""
_ROW: Final = """
    SELECT f.path, w.heading, c.line, c.is_source, w.text FROM loom_search_chunk c
    JOIN loom_search_file f ON f.id = c.file JOIN loom_search_words w ON w.rowid = c.id WHERE c.id = ?
"""
_MANY: Final = 5_000
_MAX_WORK: Final = 50_000
_COUNT: Final = "SELECT count(*) FROM loom_search_words WHERE loom_search_words MATCH ?"


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights for BM25: a heading describes a chunk better than its text."""

    heading: float = 4.0
    path: float = 2.0
    names: float = 1.0
    text: float = 1.0

    def rank(self) -> str:
        """Return the ranking function as FTS5 takes it."""
        return f"bm25({self.heading}, {self.path}, {self.names}, {self.text})"


def ranked(
    database: IndexDatabase, query: str, near: Sequence[int] | None, *, limit: int, offset: int, notes: tuple[str, ...]
) -> SearchResult:
    """Return the best chunks.

    Args:
        near: The chunks whose vectors are nearest to that of the query, the nearest first; None to
            rank by words only.
    """
    words, terms = query_words(query), match_terms(query)
    expression = " OR ".join(terms)
    total = database.value(_COUNT, (expression,)) if expression else 0
    if total > _MANY:
        expression = " OR ".join(_rare(database, terms))
        total = database.value(_COUNT, (expression,))
    pool = max(_POOL, offset + limit)
    lexical = database.rows(_LEXICAL, (expression, Weights().rank(), pool)) if expression else []
    if near is None:
        mode: Mode = "lexical"
        order = [(number, score) for number, score in lexical]
    else:
        mode = "hybrid"
        order = _fused([number for number, _ in lexical], near)
        total = len(order)
    matches: list[SearchMatch] = []
    for number, score in order[offset : offset + limit]:
        path, heading, line, is_source, text = database.rows(_ROW, (number,))[0]
        shown = line + (best_line(text, words) if is_source else 0)
        matches.append(SearchMatch(path, heading, shown, round(score, 4), snippet(text, words), mode))
    return SearchResult(tuple(matches), total, offset + len(matches) < total, notes)


def _rare(database: IndexDatabase, terms: list[str]) -> list[str]:
    """Return the terms that decide in a large index: not those that most parts have, and the rarest
    while the work of ranking is limited.
    """
    counts = sorted((database.value(_COUNT, (term,)), term) for term in terms)
    chunks = database.value("SELECT count(*) FROM loom_search_chunk")
    kept: list[str] = []
    work = 0
    for count, term in counts:
        work += count
        if not count:
            continue
        if kept and (work > _MAX_WORK or count > chunks // 2):
            break
        kept.append(term)
    return kept or terms


def _fused(*rankings: Sequence[int]) -> list[tuple[int, float]]:
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, number in enumerate(ranking, start=1):
            scores[number] = scores.get(number, 0.0) + 1 / (_FUSION + rank)
    return sorted(scores.items(), key=lambda item: -item[1])
