"""The audit trail: what was asked, decided and done, in rows that cannot be changed without it being seen.

Theory of operation. Each row holds the hash of the row before it: `hash = sha256(previous, canonical JSON of the row)`.
Whoever changes, removes, adds or reorders rows breaks the chain at that place, and `verify` names it. The first row
follows a fixed beginning, so rows in front are found too. A chain alone cannot show that its *newest* rows were cut
off; therefore the head (number and hash of the newest row) is printed at the end of each run and sent with each
notification, and `verify(head)` wants to find it.

Rows are written from what the run's own committed rows say (see `_audited`), each with the name of what it tells
about. A name is written once: after a crash the same facts are told again and nothing is doubled, so the trail of an
interrupted run reads as that of an undisturbed one.

The trail lives in the run's database. Triggers refuse UPDATE and DELETE there; they stop accidents, the chain shows
intent. Not covered: somebody who can write the file *and* every printed head.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import apsw

from loom_ops._errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["AuditEntry", "AuditHead", "AuditTrail", "Break", "Fact"]

BEGINNING: Final = sha256(b"loom-ops audit 1").hexdigest()

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS audit (
    number   INTEGER PRIMARY KEY,
    source   TEXT NOT NULL UNIQUE,
    run_id   TEXT NOT NULL,
    at       TEXT NOT NULL,
    kind     TEXT NOT NULL,
    actor    TEXT NOT NULL,
    content  TEXT NOT NULL,
    previous TEXT NOT NULL,
    hash     TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS audit_of_run ON audit (run_id, number);
CREATE TRIGGER IF NOT EXISTS audit_is_not_changed BEFORE UPDATE ON audit
    BEGIN SELECT raise(ABORT, 'the audit trail is append-only'); END;
CREATE TRIGGER IF NOT EXISTS audit_is_not_cut BEFORE DELETE ON audit
    BEGIN SELECT raise(ABORT, 'the audit trail is append-only'); END;
"""
_INSERT: Final = "INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_ALL: Final = "SELECT * FROM audit ORDER BY number"
_OF_RUN: Final = """SELECT * FROM audit WHERE run_id = ?1 OR substr(run_id, 1, length(?1) + 5) = ?1 || ':sub:'
    ORDER BY number"""


@dataclass(frozen=True, slots=True)
class Fact:
    """Something to be remembered.

    Args:
        source: The name of what it tells about, unique in the database, the same at every telling.
        at: When it happened (UTC, ISO 8601).
        kind: What happened, for instance `approval.decided`.
        actor: Who did it.
        content: What else there is to say, as JSON without secrets.
    """

    source: str
    run_id: str
    at: str
    kind: str
    actor: str
    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A row of the trail."""

    number: int
    source: str
    run_id: str
    at: str
    kind: str
    actor: str
    content: str
    previous: str
    hash: str

    @property
    def expected_hash(self) -> str:
        """Return the hash that the other columns call for."""
        return _hash(self.number, self.source, self.run_id, self.at, self.kind, self.actor, self.content, self.previous)

    def as_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "source": self.source,
            "run_id": self.run_id,
            "at": self.at,
            "kind": self.kind,
            "actor": self.actor,
            "content": json.loads(self.content),
            "previous": self.previous,
            "hash": self.hash,
        }


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The newest row: what a person keeps elsewhere to see later that nothing was cut off."""

    number: int
    hash: str

    def __str__(self) -> str:
        return f"{self.number}:{self.hash}"

    @classmethod
    def read(cls, text: str) -> AuditHead:
        """Read what `str` wrote.

        Raises:
            AuditError: It is not a head.
        """
        number, _, digest = text.strip().partition(":")
        if not (number.isascii() and number.isdigit() and len(digest) == 64 and set(digest) <= set("0123456789abcdef")):
            raise AuditError(f"cannot verify: {text[:80]!r} is not a head. Give NUMBER:HASH as it was printed.")
        return cls(int(number), digest)


@dataclass(frozen=True, slots=True)
class Break:
    """A place where the trail is not what was written."""

    number: int
    text: str


class AuditTrail:
    """The trail in one database.

    Raises:
        AuditError: The database cannot be opened.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = str(path)
        with self._named("open"):
            self._db = apsw.Connection(self._path)
            self._db.set_busy_timeout(10_000)
            self._db.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
            if not self._db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'audit_is_not_cut'").fetchone():
                with self._db:
                    self._db.execute(_TABLE)

    def close(self) -> None:
        """Close the database. Closing twice is harmless."""
        self._db.close()

    def append(self, facts: Sequence[Fact]) -> int:
        """Write the facts that are not there yet, in the order given; return how many were.

        Durability: they are on disk when this returns, all or none.
        """
        written = 0
        with self._named("write"):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                head = self._head()
                number, previous = (head.number, head.hash) if head else (0, BEGINNING)
                for fact in facts:
                    if self._db.execute("SELECT 1 FROM audit WHERE source = ?", (fact.source,)).fetchone():
                        continue
                    number += 1
                    content = json.dumps(fact.content, ensure_ascii=False, sort_keys=True, allow_nan=False)
                    row = (number, fact.source, fact.run_id, fact.at, fact.kind, fact.actor, content, previous)
                    previous = _hash(*row)
                    self._db.execute(_INSERT, (*row, previous))
                    written += 1
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        return written

    def head(self) -> AuditHead | None:
        """Return the newest row's number and hash; None when the trail is empty."""
        with self._named("read"):
            return self._head()

    def entries(self, run_id: str | None = None) -> Iterator[AuditEntry]:
        """Read rows in order, of one run and its children or of all."""
        with self._named("read"):
            rows = self._db.execute(_ALL) if run_id is None else self._db.execute(_OF_RUN, (run_id,))
            for row in rows:
                yield AuditEntry(*row)

    def verify(self, head: AuditHead | None = None) -> list[Break]:
        """Walk the whole chain and name every place where it does not hold.

        Args:
            head: What was printed earlier; it must still be there, as it was.
        """
        breaks: list[Break] = []
        number, previous = 0, BEGINNING
        found = head is None
        for entry in self.entries():
            number += 1
            if entry.number != number:
                missing = f"{number}" if entry.number == number + 1 else f"{number} to {entry.number - 1}"
                breaks.append(Break(number, f"entry {missing} is missing"))
                number = entry.number
            elif entry.previous != previous:
                breaks.append(Break(number, f"entry {number} does not follow the one before it"))
            if entry.hash != entry.expected_hash:
                breaks.append(Break(number, f"entry {number} was changed ({entry.kind} of {entry.run_id})"))
            if head is not None and number == head.number:
                found = True
                if entry.hash != head.hash:
                    breaks.append(Break(number, f"entry {number} is not the one that was printed"))
            previous = entry.hash
        if head is not None and not found:
            breaks.append(Break(number + 1, f"the trail ends at entry {number}, but entry {head.number} was printed"))
        return breaks

    def _head(self) -> AuditHead | None:
        row = self._db.execute("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1").fetchone()
        return AuditHead(*row) if row else None

    @contextmanager
    def _named(self, verb: str) -> Iterator[None]:
        try:
            yield
        except apsw.Error as exc:
            said = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
            raise AuditError(
                f"cannot {verb} the audit trail in {self._path}: {said}. Nothing of it was changed."
            ) from exc


def _hash(*row: object) -> str:
    return sha256(
        json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    ).hexdigest()
