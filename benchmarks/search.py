"""Index, refresh and search of many files, beside a loop that a careful person writes with FTS5.

    python benchmarks/search.py                     10,000 files, half a minute
    python benchmarks/search.py --files 1000        quicker; the bars are those of 10,000 files
    python benchmarks/search.py --json

The loop by hand: `os.scandir` and `stat`, one row per file, one transaction, no ignore rules, no
chunks, no checks; a query takes the file and a snippet. Both take turns. Times are wall-clock
times. Exit code 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
from loom_agents.search import DocumentIndex

if TYPE_CHECKING:
    from collections.abc import Callable

CREATE = """CREATE TABLE file (path TEXT PRIMARY KEY, size INTEGER, modified INTEGER, number INTEGER);
CREATE VIRTUAL TABLE words USING fts5(path, body, tokenize = 'porter unicode61');"""
FIND = "SELECT path, snippet(words, 1, '', '', '...', 24) FROM words WHERE words MATCH ? ORDER BY rank LIMIT 8"


@dataclass(frozen=True)
class Row:
    """One claim: what was measured, its bar, and the loop by hand beside it."""

    name: str
    value_ms: float
    bar_ms: float
    by_hand_ms: float

    @property
    def verdict(self) -> str:
        return "met" if self.value_ms <= self.bar_ms else "MISSED"


class ByHand:
    """The index that is written in an hour."""

    def __init__(self, database: Path, root: Path) -> None:
        self.root = root
        self.db = apsw.Connection(str(database))
        self.db.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")
        self.db.execute(CREATE)

    def refresh(self) -> None:
        """Index what has another size or time."""
        known = {path: (size, at) for path, size, at in self.db.execute("SELECT path, size, modified FROM file")}
        folders = [self.root]
        with self.db:
            while folders:
                for entry in os.scandir(folders.pop()):
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(Path(entry.path))
                        continue
                    facts = entry.stat()
                    now = (facts.st_size, facts.st_mtime_ns)
                    if known.get(entry.path) != now:
                        self._index(entry.path, now)

    def _index(self, path: str, now: tuple[int, int]) -> None:
        row = self.db.execute("SELECT number FROM file WHERE path = ?", (path,)).get
        if row is not None:
            self.db.execute("DELETE FROM words WHERE rowid = ?", (row,))
        text = Path(path).read_text(encoding="utf-8")
        self.db.execute("INSERT INTO words VALUES (?, ?)", (path, text))
        values = (path, *now, self.db.last_insert_rowid())
        self.db.execute("INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?)", values)

    def search(self, query: str) -> int:
        """Return how many of the best eight there are."""
        words = " OR ".join(f'"{word}"' for word in re.findall(r"\w+", query))
        return len(self.db.execute(FIND, (words,)).fetchall())


def write_files(root: Path, count: int, numbers: random.Random) -> list[str]:
    """Write Markdown files of 400 words that are distributed as in a language; return the words."""
    syllables = [a + b for a in "bcdfghklmnprstvw" for b in "aeiou"]
    words = ["".join(numbers.choices(syllables, k=numbers.randint(2, 4))) for _ in range(20_000)]
    weights = [1 / (rank + 3) for rank in range(len(words))]
    (root / ".gitignore").write_text("build/\n*.log\n.cache/\n")
    for number in range(count):
        folder = root / f"folder{number % 100:02}"
        folder.mkdir(exist_ok=True)
        text = numbers.choices(words, weights, k=400)
        parts = [f"# {' '.join(text[:3])}\n"]
        for start in (0, 130, 260):
            heading = " ".join(text[start + 10 : start + 13])
            parts += [
                f"## {heading}\n",
                " ".join(text[start : start + 130]),
                f"\n`{text[start]}_{text[start + 1]}()`\n",
            ]
        (folder / f"file{number}.md").write_text("\n".join(parts))
    return words


def took_ms(action: Callable[[], object]) -> float:
    """Return how long an action takes, in milliseconds."""
    started = time.perf_counter()
    action()
    return (time.perf_counter() - started) * 1_000


def rows(files: int, samples: int, folder: Path) -> list[Row]:
    """Measure all rows."""
    numbers = random.Random(11)
    root = folder / "docs"
    root.mkdir()
    words = write_files(root, files, numbers)
    ours, hand = DocumentIndex(folder / "index.sqlite", root), ByHand(folder / "hand.sqlite", root)
    found = [Row("index all files", took_ms(ours.refresh), 60_000, took_ms(hand.refresh))]
    time.sleep(1.1)  # files that are younger than a second are read again
    ours.refresh()

    def changed() -> None:
        file = root / f"folder{numbers.randrange(min(files, 100)):02}"
        first = next(file.iterdir())
        first.write_text(f"{first.read_text()}\nchanged {numbers.random()}\n")

    def median(name: str, bar_ms: float, prepare: Callable[[], object], *actions: Callable[[], object]) -> Row:
        times: list[list[float]] = [[], []]
        for _ in range(samples):
            prepare()
            for kept, action in zip(times, actions, strict=True):
                kept.append(took_ms(action))
        return Row(name, statistics.median(times[0]), bar_ms, statistics.median(times[1]))

    found.append(median("refresh, nothing changed", 100, lambda: None, ours.refresh, hand.refresh))
    found.append(median("refresh, one file changed", 100, changed, ours.refresh, hand.refresh))
    for name, low, high in (("usual", 200, 8_000), ("common", 5, 60)):
        queries = [" ".join(numbers.choices(words[low:high], k=5)) for _ in range(samples)]
        mine, theirs = iter(queries), iter(queries)
        found.append(
            median(
                f"query of five {name} words",
                50,
                lambda: None,
                lambda mine=mine: ours.search(next(mine)),
                lambda theirs=theirs: hand.search(next(theirs)),
            )
        )
    ours.close()
    return found


def main() -> int:
    """Measure and print; return 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = rows(options.files, options.samples, Path(folder))
    if options.json:
        print(json.dumps([asdict(row) | {"verdict": row.verdict} for row in found], indent=2))
    else:
        print(f"{options.files:,} files; milliseconds, median of {options.samples}")
        print(f"{'':34} {'ours':>9} {'bar':>8} {'':7} {'by hand':>9} {'ratio':>6}")
        for row in found:
            ratio = row.value_ms / row.by_hand_ms
            ours = f"{row.value_ms:9.1f} {row.bar_ms:8,.0f} {row.verdict:7}"
            print(f"{row.name:34} {ours} {row.by_hand_ms:9.1f} {ratio:6.1f}")
    return 1 if any(row.verdict == "MISSED" for row in found) else 0


if __name__ == "__main__":
    sys.exit(main())
