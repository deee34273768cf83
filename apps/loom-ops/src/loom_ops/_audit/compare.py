"""Compare the entries of a trail with the rows that they speak of.

The facts are derived again. An entry whose fact is different now, or gone, is a finding; so is a
fact that a command must have recorded and that the trail lacks. Some facts are in the trail only:
refusals, changes of the configuration, and states that a run has left since.

A run that retention deleted cannot be compared, which is said; a run that is gone without that is
a finding. Entries before the one that names the database are in the form of version 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from loom_runner.cli_base import plural
from loom_runner.run_ids import root_run_id

from loom_ops._audit.chain import GENESIS_KIND, shown
from loom_ops._audit.derived import differences
from loom_ops._audit.facts import audit_facts, decisions_of_service
from loom_ops._runs import is_run_of_loom_ops

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from loom_runner import Runs

    from loom_ops._audit.chain import AuditEntry, AuditFact

__all__ = ["Comparison", "compare_with_rows"]

_IN_TRAIL_ONLY: Final = frozenset({"approval.refused", "config.changed", GENESIS_KIND})
_PASSING: Final = frozenset({"command.in_doubt", "run.ended"})
"""Kinds of facts that a run leaves behind: it is resumed, the command is resolved."""
_FINAL: Final = ("/ended/completed", "/ended/cancelled")
"""Endings of the names of facts that a run cannot leave behind."""
_KNOWN: Final = (
    _IN_TRAIL_ONLY
    | _PASSING
    | {"run.asked", "approval.asked", "approval.requested", "approval.decided", "approval.edited", "approval.used"}
    | {"approval.expired", "call.resolved", "command.started"}
    | {f"{kind}.ended" for kind in ("command", "look", "by hand", "check")}
)
_PAGE_RUNS: Final = 1000
_ROOTS: Final = f"""SELECT run_key, run_id, program FROM runs
    WHERE parent_key IS NULL AND run_key > ? ORDER BY run_key LIMIT {_PAGE_RUNS}"""  # noqa: S608 - a number
_PRUNED: Final = """SELECT 1 FROM runs WHERE dropped_steps > 0
    AND (run_id = ?1 OR substr(run_id, 1, length(?1) + 5) = ?1 || ':sub:') LIMIT 1"""


@dataclass(slots=True)
class Comparison:
    """What differs, and what could not be compared."""

    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def compare_with_rows(
    entries: Iterable[AuditEntry], runs: Runs, *, deleted_at: Callable[[str], int | None]
) -> Comparison:
    """Compare all entries with all runs of loom-ops.

    Args:
        entries: The entries that could be read, in order.
        deleted_at: Returns when retention deleted a run; None when it did not.
    """
    trees: dict[str, list[AuditEntry]] = {root: [] for root in _roots(runs)}
    found = Comparison()
    first_of_format_2 = 0
    for entry in entries:
        if entry.kind == GENESIS_KIND:
            first_of_format_2 = first_of_format_2 or entry.number
        elif entry.kind not in _KNOWN:
            found.findings.append(f"entry {entry.number} has the unknown kind {shown(entry.kind)}")
        elif entry.run_id:
            trees.setdefault(root_run_id(entry.run_id), []).append(entry)
    for root, of_tree in trees.items():
        tree = _Tree(root, of_tree, runs, found, first_of_format_2)
        try:
            tree.compare(deleted_at)
        except Exception as exc:  # noqa: BLE001 - rows that were tampered with can raise anything
            why = f"the rows of run {shown(root)} cannot be read ({type(exc).__name__}: {shown(exc)})"
            found.findings.append(f"{_numbers(of_tree)} cannot be compared: {why}")
    return found


@dataclass(frozen=True, slots=True)
class _Tree:
    """A run with its children, and the entries that speak of them."""

    root: str
    entries: list[AuditEntry]
    runs: Runs
    found: Comparison
    first_of_format_2: int

    def compare(self, deleted_at: Callable[[str], int | None]) -> None:
        """Compare the entries with the rows, and the rows with the entries."""
        run = self.runs.find(self.root)
        if run is None:
            self._compare_deleted(deleted_at(self.root))
            return
        if not is_run_of_loom_ops(run):
            why = f"run {shown(self.root)} is now one of {shown(run['program'])}"
            self.found.findings.append(f"{_numbers(self.entries)} speaks of a run of loom-ops, but {why}")
        facts = {fact.source: fact for fact in audit_facts(self.runs, self.root)}
        members = [run, *self.runs.children(self.root)]
        requests = {
            f"{approval['run_id']}/approval/{approval['number']}": approval
            for member in members
            for approval in self.runs.approvals(member["run_id"])
        }
        self._compare_entries(facts, requests)
        self.found.findings += _wrong_statuses(requests.values())
        is_open = any(member["status"] in ("running", "interrupted") for member in members)
        self._find_unrecorded(facts, is_open=is_open)

    def _compare_entries(self, facts: Mapping[str, AuditFact], requests: Mapping[str, Mapping[str, Any]]) -> None:
        has_pruned = bool(self.runs.query(_PRUNED, (self.root,)))
        uncompared = 0
        for entry in self.entries:
            if entry.kind in _IN_TRAIL_ONLY:
                continue
            fact = facts.get(entry.source)
            is_first_format = entry.number < self.first_of_format_2
            if fact is not None:
                text = _difference(entry, fact, _request_of(entry, requests), is_first_format=is_first_format)
                if text:
                    text = f"entry {entry.number} ({_about(entry)}) differs from the rows: {text}"
                    self.found.findings.append(text)
            elif entry.kind in _PASSING and not entry.source.endswith(_FINAL):
                continue
            elif is_first_format or (has_pruned and _is_prunable(entry)):
                uncompared += 1
            else:
                text = f"entry {entry.number} ({_about(entry)}) speaks of what the rows do not hold"
                self.found.findings.append(text)
        if uncompared:
            count = plural(uncompared, "entry", "entries")
            self.found.notes.append(f"run {shown(self.root)}: {count} cannot be compared")

    def _compare_deleted(self, deleted: int | None) -> None:
        count = f"{plural(len(self.entries), 'entry', 'entries')} cannot be compared"
        if deleted is not None or all(entry.number < self.first_of_format_2 for entry in self.entries):
            self.found.notes.append(f"run {shown(self.root)} was deleted: {count}")
        elif any(entry.kind not in _IN_TRAIL_ONLY for entry in self.entries):
            gone = f"run {shown(self.root)} of {_numbers(self.entries)} is gone, and no command has deleted it"
            self.found.findings.append(f"{gone}: {count}")

    def _find_unrecorded(self, facts: Mapping[str, AuditFact], *, is_open: bool) -> None:
        """Find facts that the trail lacks. A run that is open, or of version 1, has some."""
        recorded = {entry.source for entry in self.entries}
        by_service = decisions_of_service(self.runs, self.root)
        may_lack = is_open or any(entry.number < self.first_of_format_2 for entry in self.entries)
        later = 0
        for source, fact in facts.items():
            if source in recorded:
                continue
            if may_lack and source not in by_service:
                later += 1
                continue
            who = f"{fact.kind} of {shown(fact.run_id)} by {shown(fact.actor)}"
            self.found.findings.append(f"{who} at {shown(fact.at)} is not in the trail")
        if later:
            text = f"run {shown(self.root)}: {plural(later, 'fact')} not recorded; its next command does that"
            self.found.notes.append(text)


def _roots(runs: Runs) -> Iterator[str]:
    key = 0
    while page := runs.query(_ROOTS, (key,), limit=_PAGE_RUNS):
        for row in page:
            key = row["run_key"]
            if is_run_of_loom_ops(row):
                yield str(row["run_id"])


def _numbers(entries: list[AuditEntry]) -> str:
    if not entries:
        return "no entry"
    return f"entry {entries[0].number}" + (f" to {entries[-1].number}" if len(entries) > 1 else "")


def _difference(entry: AuditEntry, fact: AuditFact, request: Mapping[str, Any] | None, *, is_first_format: bool) -> str:
    names = _different_names(entry, fact, request)
    if names and is_first_format and fact.earlier is not None:
        names = _different_names(entry, fact.earlier, request)
    if names == ["at"] and entry.kind == "command.in_doubt":
        return ""  # its process was alive until its lease ended
    return ", ".join(shown(name) for name in names[:8])


def _different_names(entry: AuditEntry, fact: AuditFact, request: Mapping[str, Any] | None) -> list[str]:
    names = [name for name in ("run_id", "kind", "actor", "at") if getattr(entry, name) != getattr(fact, name)]
    return names + differences(entry.content, fact, request)


def _request_of(entry: AuditEntry, requests: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any] | None:
    for ending in ("/asked", "/decided"):
        name, found, _ = entry.source.rpartition(ending)
        if found and name in requests:
            return requests[name]
    return None


def _wrong_statuses(requests: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for request in requests:
        decisions = [decision["how"] for decision in request["decisions"]]
        is_denied = bool(decisions) and decisions[-1] == "deny"
        is_granted = request["status"] in ("approved", "used")
        if (is_granted and not decisions) or (is_denied and request["status"] in ("pending", "approved")):
            yield f"request {shown(request['id'])} is {shown(request['status'])}, which its decisions do not say"


def _is_prunable(entry: AuditEntry) -> bool:
    return "/call/" in entry.source or entry.kind == "approval.used"


def _about(entry: AuditEntry) -> str:
    return f"{entry.kind} of {shown(entry.run_id)}"
