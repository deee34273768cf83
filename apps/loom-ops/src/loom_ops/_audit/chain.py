"""The entries of the audit trail, each holding the hash of the one before it.

`hash = sha256(canonical JSON of the entry, with the hash of the entry before)`. Whoever changes,
removes, adds or reorders entries breaks the chain at that place, and `chain_breaks` names it. The
first entry follows a fixed start, so entries that were put in front are found too; it names the
database (see `database`). A chain alone cannot show that its *newest* entries were removed; a head
that was printed earlier does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from loom_ops._errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "CHAIN_START",
    "GENESIS_KIND",
    "GENESIS_SOURCE",
    "AuditEntry",
    "AuditFact",
    "AuditHead",
    "ChainBreak",
    "chain_breaks",
    "entry_after",
    "shown",
]

CHAIN_START: Final = sha256(b"loom-ops audit 1").hexdigest()
"""The previous hash in the first entry."""
GENESIS_KIND: Final = "audit.started"
GENESIS_SOURCE: Final = "audit/database"
"""Kind and source of the entry that names the database."""


@dataclass(frozen=True, slots=True)
class AuditFact:
    """A fact to record.

    Args:
        source: The name of the fact: unique in the database, and the same each time the fact is
            derived.
        at: When it happened (UTC, ISO 8601).
        kind: What happened, for example `approval.decided`.
        actor: Who did it.
        content: The details, as JSON without secrets.
        earlier: The fact as version 1 of the trail recorded it, when that differs.
    """

    source: str
    run_id: str
    at: str
    kind: str
    actor: str
    content: Mapping[str, Any]
    earlier: AuditFact | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An entry as it is stored.

    Args:
        number: Its position in the chain, from 1.
        content: JSON.
        previous: The hash of the entry before it.
    """

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
        """The hash that follows from the other columns."""
        return _hash(self.number, self.source, self.run_id, self.at, self.kind, self.actor, self.content, self.previous)

    @property
    def row(self) -> tuple[int | str, ...]:
        """The columns, in their order."""
        return (
            self.number,
            self.source,
            self.run_id,
            self.at,
            self.kind,
            self.actor,
            self.content,
            self.previous,
            self.hash,
        )

    def as_json(self) -> dict[str, Any]:
        """Return the entry as it is exported."""
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
    """Number and hash of the newest entry. Kept elsewhere, it shows removed entries."""

    number: int
    hash: str

    def __str__(self) -> str:
        return f"{self.number}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> AuditHead:
        """Read a head that was printed.

        Raises:
            AuditError: It is not a head.
        """
        number, _, digest = text.strip().partition(":")
        if not (number.isascii() and number.isdigit() and len(digest) == 64 and set(digest) <= set("0123456789abcdef")):
            raise AuditError(f"cannot verify: {text[:80]!r} is not a head. Give NUMBER:HASH as it was printed.")
        return cls(int(number), digest)


@dataclass(frozen=True, slots=True)
class ChainBreak:
    """An entry at which the trail differs from what was written."""

    number: int
    text: str


def entry_after(head: AuditHead | None, fact: AuditFact) -> AuditEntry:
    """Return the entry that records a fact, chained to the newest entry."""
    number, previous = (head.number, head.hash) if head is not None else (0, CHAIN_START)
    content = json.dumps(fact.content, ensure_ascii=False, sort_keys=True, allow_nan=False)
    row = (number + 1, fact.source, fact.run_id, fact.at, fact.kind, fact.actor, content, previous)
    return AuditEntry(*row, _hash(*row))


def chain_breaks(entries: Iterable[AuditEntry | ChainBreak], *heads: AuditHead) -> list[ChainBreak]:
    """Verify the whole chain; return every break.

    Args:
        entries: All entries, in order; a break stands for an entry that cannot be read.
        heads: Heads that were printed earlier; their entries must still exist, unchanged.
    """
    breaks: list[ChainBreak] = []
    number = 0
    previous: str | None = CHAIN_START
    printed: dict[int, set[str]] = {}
    for head in heads:
        printed.setdefault(head.number, set()).add(head.hash)
    for entry in entries:
        if entry.number < 1:
            breaks.append(ChainBreak(entry.number, f"entry {entry.number} was put before the first one"))
            continue
        number += 1
        if entry.number != number:
            missing = f"{number}" if entry.number == number + 1 else f"{number} to {entry.number - 1}"
            breaks.append(ChainBreak(number, f"entry {missing} is missing"))
            number = entry.number
        elif isinstance(entry, AuditEntry) and previous is not None and entry.previous != previous:
            breaks.append(ChainBreak(number, f"entry {number} does not follow the one before it"))
        if isinstance(entry, ChainBreak):
            breaks.append(entry)
            previous = None
            continue
        if entry.hash != entry.expected_hash:
            text = f"entry {number} was changed ({shown(entry.kind)} of {shown(entry.run_id)})"
            breaks.append(ChainBreak(number, text))
        if printed.get(number, {entry.hash}) != {entry.hash}:
            breaks.append(ChainBreak(number, f"entry {number} is not the one that was printed"))
        previous = entry.hash
    last = max(printed, default=0)
    if last > number:
        text = f"the trail ends at entry {number}, but entry {last} was printed"
        breaks.append(ChainBreak(number + 1, text))
    return breaks


def shown(value: object) -> str:
    """Return a stored value in a form that is safe to print, at most 60 characters of it."""
    return ascii(value) if isinstance(value, int | float) else ascii(str(value)[:60])[1:-1]


def _hash(*row: object) -> str:
    text = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
