"""Words: what the full-text index stores of a text, and how a question becomes a query.

Theory of operation
-------------------
The tokenizer is one that SQLite has, so that any SQLite can read and check an index: words of
letters and digits of any script, without accents, English endings removed. It leaves some
text unfindable, and `split_names` returns the words that a further column gets for them:

* `CamelCase` is one word to it, so its parts are added (`snake_case` and `dotted.names` it splits);
* a letter that capitals write as two (`Straße`, `STRASSE`) is also added as two;
* Chinese, Japanese, Korean, Thai and similar text has no spaces, so each pair of neighbouring
  characters is added, and the last character alone.

A query consists of words, never of FTS syntax: each is quoted. A chunk matches if it has any of
them. A name is looked for by its parts and as a whole, which counts in addition.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

TOKENIZER: Final = "porter unicode61 remove_diacritics 2"
MAX_QUERY_CHARACTERS: Final = 10_000
MAX_QUERY_WORDS: Final = 64

# Scripts that are written without spaces: Thai, Lao, Myanmar, Khmer; Kana, Bopomofo, Han, Hangul.
_UNSPACED: Final = (
    "\u0e01-\u0e4e\u0e81-\u0edf\u1000-\u109f\u1780-\u17dd\u3005-\u3007\u3041-\u30ff\u3105-\u318e"
    "\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff66-\uff9f"
    "\U00020000-\U000323af"
)
_RUN: Final = re.compile(f"[{_UNSPACED}]+")
_CAMEL: Final = re.compile(r"\b_*[A-Za-z0-9]*[a-z0-9][A-Z][A-Za-z0-9]*|\b_*[A-Z]{2,}[a-z][A-Za-z0-9]*")
_PARTS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_JOINED: Final = re.compile(r"\w(?:[\w.\-:/]*\w)?")

# Words that occur in most questions and do not describe the subject.
_STOP_WORDS: Final = frozenset(
    re.findall(
        r"\w+",
        """a an and are as at be been but by can could did do does for from had has have how i if in is it its me my
        no not of on or our please should show so some tell than that the their them then there these they this to us
        was we were what when where which who why will with work works would you your
        about also any get into just let may might must need want without""",
    )
)


def query_words(query: str) -> list[str]:
    """Return the words of a query, without stop words unless there are no others."""
    words = list(dict.fromkeys(_pieces(query[:MAX_QUERY_CHARACTERS].lower())))[:MAX_QUERY_WORDS]
    return [word for word in words if word not in _STOP_WORDS] or words


def match_expression(query: str) -> str:
    """Return the FTS5 expression for a query: its terms, joined by OR; empty when it has no
    words.
    """
    return " OR ".join(match_terms(query))


def match_terms(query: str) -> list[str]:
    """Return the terms of the FTS5 expression for a query: quoted words and phrases."""
    words = query_words(query)
    terms = [f'"{word}"' for word in words if not _RUN.search(word)]
    for run in _RUN.findall(" ".join(words)):
        terms += [f'"{pair}"' for pair in _pairs(run)] if len(run) > 1 else [f'"{run}"*']
    for name in _JOINED.findall(query[:MAX_QUERY_CHARACTERS]):
        parts = [part for piece in _pieces(name) for part in _camel_parts(piece)]
        if len(parts) > 1:
            terms.append(f'"{" ".join(parts).lower()}"')
            terms += [f'"{part.lower()}"' for part in parts if part.lower() not in _STOP_WORDS]
    return list(dict.fromkeys(terms))[: 2 * MAX_QUERY_WORDS]


def rank_function(*weights: float) -> str:
    """Return BM25 with a weight for each column, as `rank MATCH ?` of FTS5 takes it."""
    return f"bm25({', '.join(map(str, weights))})"


def split_names(text: str) -> str:
    """Return the words of a text that the tokenizer does not find in it, separated by spaces."""
    names = " ".join(" ".join(_camel_parts(name)) for name in dict.fromkeys(_CAMEL.findall(text)))
    if text.isascii():
        return names
    pairs = [pair for run in _RUN.findall(text) for pair in _pairs(run)]
    folded = []
    if len(text.casefold()) != len(text):  # such as the sharp s, which capital letters write as two
        folded = [word.casefold() for word in set(_pieces(text)) if len(word.casefold()) != len(word)]
    return " ".join(filter(None, [names, *pairs, *sorted(folded)]))


def best_line(text: str, words: list[str]) -> int:
    """Return the index of the line with the most words of the query; the first of several."""
    patterns = [_stem_pattern(word) for word in words]
    counts = [sum(1 for pattern in patterns if pattern.search(line)) for line in text.split("\n")]
    return counts.index(max(counts))


def snippet(text: str, words: list[str], *, max_words: int = 24) -> str:
    """Return the part of a text that has the most words of a query, on one line.

    Args:
        text: A text of any length.
        words: What `query_words` returned.
        max_words: How many words of the text to return.
    """
    tokens = text.split()
    if len(tokens) <= max_words and len(text) <= 12 * max_words:
        return " ".join(tokens)
    patterns = [_stem_pattern(word) for word in words]
    hits = [{number for number, pattern in enumerate(patterns) if pattern.search(token)} for token in tokens]
    best, start = -1, 0
    for first in range(max(1, len(tokens) - max_words + 1)):
        if first and not hits[first]:
            continue  # a better part starts at a hit
        count = len(set().union(*hits[first : first + max_words]))
        if count > best:
            best, start = count, first
    start = max(0, min(start - 3, len(tokens) - max_words))
    shown = " ".join(tokens[start : start + max_words])
    shown = shown if len(shown) <= 12 * max_words else _around(shown, patterns, 12 * max_words)
    before = "... " if start else ""
    return f"{before}{shown}{' ...' if start + max_words < len(tokens) else ''}"


def _around(text: str, patterns: list[re.Pattern[str]], size: int) -> str:
    """Return a part of a long text: that around the first hit."""
    hits = [hit.start() for pattern in patterns if (hit := pattern.search(text))]
    start = max(0, min(min(hits, default=0) - size // 4, len(text) - size))
    return f"{'... ' if start else ''}{text[start : start + size]} ..."


def _pieces(text: str) -> Iterator[str]:
    """Split a text where the tokenizer splits it; combining marks belong to a word."""
    word: list[str] = []
    for character in text:
        if character.isalnum() or (word and unicodedata.category(character).startswith("M")):
            word.append(character)
        elif word:
            yield "".join(word)
            word.clear()
    if word:
        yield "".join(word)


def _camel_parts(name: str) -> list[str]:
    return _PARTS.findall(name) if _CAMEL.fullmatch(name) else [name]


def _pairs(run: str) -> list[str]:
    return [run[index : index + 2] for index in range(len(run))]


def _stem_pattern(word: str) -> re.Pattern[str]:
    """Return a pattern for a word and its other forms, which is good enough to show a line."""
    stem = re.sub(r"(?:ations?|ings?|edly|ed|ers?|es|ly|s|e)$", "", word) if word.isascii() else word
    stem = stem if len(stem) >= 4 else word
    if _RUN.search(word):
        return re.compile("|".join(re.escape(pair) for pair in _pairs(word)[:-1] or [word]))
    return re.compile(rf"(?<![^\W_]){re.escape(stem)}", re.IGNORECASE)
