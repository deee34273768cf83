"""Rank the chunks of an index for a query: by words with BM25, and by vectors if there are any.

Theory of operation
-------------------
BM25 with weights for the columns finds the best hundred chunks. Within them the order is improved:

* a chunk that has more of the words of the query counts more (BM25 prefers a rare word, repeated,
  to two common ones);
* a chunk counts more if other chunks of its file are good, too;
* a further chunk of a file counts less than the first, so that one file does not hide all others.

The next hundred follows in the same way, so that pages do not depend on their size.

Two rankings are fused by their ranks, not their scores, which cannot be compared: the score of a
chunk is the sum of `weight / (10 + rank)` over the rankings that it is in (G. V. Cormack et al.,
"Reciprocal rank fusion outperforms Condorcet and individual rank learning methods", 2009). The
constants were chosen with `benchmarks/search_quality.py`: vectors of small models are good at
finding what words miss, and worse at ordering the rest.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import apsw

from loom_agents._search.database import IndexDatabase
from loom_agents._search.results import Mode, SearchMatch, SearchResult
from loom_agents._search.words import (
    TOKENIZER,
    best_line,
    match_expression,
    match_terms,
    query_words,
    rank_function,
    snippet,
    split_names,
)
from loom_agents.redaction import redact_text

MAX_RESULTS: Final = 200
_BLOCK: Final = 100
_OF_FILE: Final = 0.3  # what the other chunks of a file add
_REPEATED: Final = 0.8  # what each earlier chunk of the same file leaves
_RANK: Final = rank_function(4, 2, 1, 1)  # heading, path, names, text: a heading describes a chunk best
_FUSION: Final = 10
_VECTORS: Final = 0.5  # the weight of the ranking by vectors; that of words is 1
_LEXICAL: Final = """
    SELECT rowid, -rank, path, loom_coverage(loom_search_words) FROM loom_search_words
    WHERE loom_search_words MATCH ? AND rank MATCH ? ORDER BY rank LIMIT ?
"""
_ROW: Final = """
    SELECT f.path, w.heading, c.line, c.is_source, w.text FROM loom_search_chunk c
    JOIN loom_search_file f ON f.id = c.file JOIN loom_search_words w ON w.rowid = c.id WHERE c.id = ?
"""
_MANY: Final = 5_000
_MAX_WORK: Final = 50_000
_PATH: Final = "SELECT f.path FROM loom_search_file f JOIN loom_search_chunk c ON c.file = f.id WHERE c.id = ?"
_COUNT: Final = "SELECT count(*) FROM loom_search_words WHERE loom_search_words MATCH ?"


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
    wanted = -(-(offset + limit) // _BLOCK) * _BLOCK
    lexical: list[tuple[int, float]] = []
    if expression:
        rows = database.rows(_LEXICAL, (expression, _RANK, wanted))
        for start in range(0, len(rows), _BLOCK):
            lexical += _improved(rows[start : start + _BLOCK])
    if near is None:
        mode: Mode = "lexical"
        order = lexical
    else:
        mode = "hybrid"
        order = _fused(database, [number for number, _ in lexical], near)
        total = len(order)
    matches: list[SearchMatch] = []
    for number, score in order[offset : offset + limit]:
        path, heading, line, is_source, text = database.rows(_ROW, (number,))[0]
        shown = line + (best_line(text, words) if is_source else 0)
        matches.append(SearchMatch(path, heading, shown, round(score, 4), snippet(redact_text(text), words), mode))
    return SearchResult(tuple(matches), total, offset + len(matches) < total, notes)


def rank_texts(query: str, texts: Sequence[str], limit: int) -> list[int]:
    """Return the indexes of the texts that have any of the words of a query, the best first.

    For a few thousand texts that no table holds: they are indexed in memory for this query.
    """
    expression = match_expression(query)
    if not expression:
        return []
    db = apsw.Connection(":memory:")
    db.execute(f"CREATE VIRTUAL TABLE text USING fts5(names, body, tokenize = '{TOKENIZER}')")
    rows = ((index, split_names(text), text) for index, text in enumerate(texts))
    db.executemany("INSERT INTO text (rowid, names, body) VALUES (?, ?, ?)", rows)
    found = db.execute("SELECT rowid FROM text WHERE text MATCH ? ORDER BY rank, rowid LIMIT ?", (expression, limit))
    return [int(row[0] or 0) for row in found.fetchall()]


def _improved(rows: list[tuple[Any, ...]]) -> list[tuple[int, float]]:
    """Order chunks, given as number, score, path and coverage with the best score first."""
    scored = sorted(((score * part, number, path) for number, score, path, part in rows), key=_descending)
    of_file: dict[str, float] = {}
    count: dict[str, int] = {}
    for score, _, path in scored:
        of_file[path] = of_file.get(path, 0.0) + score * 0.5 ** count.get(path, 0)
        count[path] = count.get(path, 0) + 1
    with_file = [(score + _OF_FILE * of_file[path], number, path) for score, number, path in scored]
    return [(number, score) for score, number, _ in sorted(_varied(with_file), key=_descending)]


def _fused(database: IndexDatabase, lexical: Sequence[int], near: Sequence[int]) -> list[tuple[int, float]]:
    scores: dict[int, float] = {}
    for weight, ranking in ((1.0, lexical), (_VECTORS, near)):
        for rank, number in enumerate(ranking, start=1):
            scores[number] = scores.get(number, 0.0) + weight / (_FUSION + rank)
    paths = {number: database.value(_PATH, (number,)) for number in scores}  # None: another process removed it
    found = [(score, number, paths[number]) for number, score in scores.items() if paths[number] is not None]
    return [(number, score) for score, number, _ in sorted(_varied(found), key=_descending)]


def _varied(scored: list[tuple[float, int, str]]) -> Iterator[tuple[float, int, str]]:
    """Yield chunks, the best first, with a lower score for each further chunk of a file."""
    count: dict[str, int] = {}
    for score, number, path in sorted(scored, key=_descending):
        yield score * _REPEATED ** count.get(path, 0), number, path
        count[path] = count.get(path, 0) + 1


def _descending(item: tuple[float, int, str]) -> float:
    return -item[0]


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
