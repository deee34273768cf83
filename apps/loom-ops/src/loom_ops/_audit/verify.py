"""Verify a trail: its table, its chain, its database, its heads, the rows, the signatures."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loom_runner.cli_base import plural

from loom_ops._audit.chain import GENESIS_KIND, AuditEntry, AuditHead, chain_breaks, shown
from loom_ops._audit.compare import compare_with_rows
from loom_ops._audit.database import named_database
from loom_ops._audit.heads import heads_file, read_heads
from loom_ops._errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loom_runner import Runs

    from loom_ops._audit.trail import AuditTrail

__all__ = ["Verification", "verify_trail"]


@dataclass(slots=True)
class Verification:
    """The result.

    Args:
        findings: What was changed; none in a trail that can be trusted.
        notes: What could not be verified, and why.
        head: The newest entry.
    """

    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    head: AuditHead | None = None


def verify_trail(
    trail: AuditTrail,
    runs: Runs,
    *heads: AuditHead,
    check_decisions: Callable[[Runs], list[str]] | None = None,
) -> Verification:
    """Verify everything that can be verified.

    Args:
        heads: Heads that were printed earlier, beside those in the file of the database.
        check_decisions: Returns what is wrong with the signatures of decisions.
    """
    found = Verification()
    found.findings += [each.text for each in trail.wrong_tables()]
    try:
        rows = list(trail.stored())
        name = trail.database()
    except AuditError as exc:
        found.findings.append(str(exc))
        return found
    entries = [entry for entry in rows if isinstance(entry, AuditEntry)]
    kept = _kept_heads(trail, found, entries)
    found.findings += [each.text for each in chain_breaks(rows, *kept, *heads)]
    _check_database(entries, name, found)
    if entries:
        found.head = AuditHead(entries[-1].number, entries[-1].hash)
    compared = compare_with_rows(entries, runs, deleted_at=trail.deleted_at)
    found.findings += compared.findings
    found.notes += compared.notes
    if check_decisions is not None:
        try:
            found.findings += check_decisions(runs)
        except Exception as exc:  # noqa: BLE001 - rows that were tampered with can raise anything
            found.findings.append(f"the signatures of decisions cannot be verified ({shown(exc)})")
    return found


def _check_database(entries: list[AuditEntry], name: str | None, found: Verification) -> None:
    first = [entry for entry in entries if entry.kind == GENESIS_KIND]
    if not first:
        found.findings.append("no entry names the database: the beginning of the trail was removed")
    for entry in first:
        named = named_database(entry)
        if name is None or named != name:
            text = f"entry {entry.number} names the database {shown(named)}, and this one is {shown(name)}"
            found.findings.append(f"{text}: the trail is foreign")
    found.findings += [f"entry {entry.number} names the database once more" for entry in first[1:]]


def _kept_heads(trail: AuditTrail, found: Verification, entries: list[AuditEntry]) -> list[AuditHead]:
    file = heads_file(trail.path)
    if file is None:
        return []
    try:
        heads, problems = read_heads(file)
    except FileNotFoundError:
        found.notes.append(f"{file.name} is not beside the database, so removed newest entries cannot be found")
        return []
    except AuditError as exc:
        found.findings.append(str(exc))
        return []
    found.findings += problems
    found.notes += _loose_file(file)
    last = max((head.number for head in heads), default=0)
    if heads and entries and last < entries[-1].number:
        newer = entries[-1].number - last
        found.notes.append(f"{plural(newer, 'entry', 'entries')} newer than the last head in {file.name}")
    return heads


def _loose_file(file: Path) -> list[str]:
    status = os.lstat(file)
    if status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o022:
        return [f"{file.name} can be changed by others: chmod 600 {file}"]
    return []
