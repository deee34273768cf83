"""`verify`: read everything once, and report problems."""

# ruff: noqa: S608  (the f-strings join constants of this package; values always travel as parameters)
from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from loom_runner._store.sqlite.approvals import ApprovalReads
from loom_runner._store.sqlite.base import FOREVER, OF_RUN, SPAN
from loom_runner._store.sqlite.encryption import KeyReads
from loom_runner._store.sqlite.runs import RunReads
from loom_runner._store.sqlite.signals import SignalReads
from loom_runner._store.sqlite.steps import StepReads
from loom_runner._store.sqlite.tool_calls import ToolReads
from loom_runner.errors import StoreUnreadable, UnknownRun

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Problem", "VerifyReads", "VerifyReport"]

_PAGE_ROWS: Final = 200
_CALLS: Final = f"SELECT ordinal FROM tool_calls {OF_RUN} AND ordinal >= ?2 ORDER BY ordinal LIMIT ?3"
_TRIES: Final = f"""
    SELECT t.ordinal, count(*) FROM tool_tries y JOIN tool_calls t ON t.number = y.number {OF_RUN} GROUP BY t.ordinal
"""
_CHECK_FILE: Final = "PRAGMA quick_check(20)"
_STORED: Final = """(SELECT count(*) FROM steps
    WHERE step_key BETWEEN r.run_key << 32 AND (r.run_key << 32) + 0xffffffff)"""
_WRONG_COUNTS: Final = f"""
    SELECT run_id, step_index - first_step, dropped_steps, {_STORED} FROM runs r
    WHERE step_index - first_step - dropped_steps <> {_STORED} LIMIT ?
"""
_OPEN_CALLS_OF_COMMITTED_STEPS: Final = """
    SELECT r.run_id, t.ordinal, t.status, t.step_index FROM tool_calls t JOIN runs r ON r.run_key = t.run_key
    WHERE t.status IN ('started', 'in_doubt') AND t.step_index < r.step_index LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem. `where` names the row or the file, `what` describes the problem."""

    where: str
    what: str
    run_id: str | None = None
    step_index: int | None = None


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `verify` found.

    Attributes:
        problems: Empty if there are none.
        checked: How many rows of each kind were read.
    """

    problems: tuple[Problem, ...]
    checked: dict[str, int]

    @property
    def ok(self) -> bool:
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        return {"ok": self.ok, "checked": self.checked, "problems": [asdict(problem) for problem in self.problems]}


class VerifyReads(RunReads, StepReads, ToolReads, SignalReads, ApprovalReads, KeyReads):
    """Read everything once."""

    def verify(self, run_id: str | None = None) -> VerifyReport:
        """Read one run, or the whole database, and report problems.

        Checked of the file: SQLite's integrity check, the hash of every blob, and whether it is a
        copy without its log. Checked of a run: its steps are consecutive, except for those that
        retention deleted; every state can be rebuilt and is JSON; its other texts can be read;
        every tool call of a committed step has an end, and no call belongs to a step that was not
        reached; every step was written under a recorded lease.

        Raises:
            UnknownRun: There is no such run.
        """
        problems: list[Problem] = []
        checked: Counter[str] = Counter()
        if run_id is None:
            try:
                problems += self._damage(checked)
            except StoreUnreadable as exc:  # SQLite cannot continue its check
                problems.append(Problem(self.description, str(exc)))
            keys = [key for (key,) in self._read("SELECT run_key FROM runs ORDER BY run_key", ())]
        else:
            keys = [key for (key,) in self._read("SELECT run_key FROM runs WHERE run_id = ?", (run_id,))]
            if not keys:
                raise UnknownRun(
                    f"cannot verify {run_id!r}: there is no such run in {self.description}.", run_id=run_id
                )
        for key in keys:
            try:
                problems += self._run_problems(key, checked)
            except StoreUnreadable as exc:
                problems.append(Problem(f"run number {key}", str(exc)))
        return VerifyReport(tuple(problems), dict(checked))

    def verify_counts(self) -> VerifyReport:
        """Check the file, and that the rows of runs agree with those of steps and calls, without
        decoding what users wrote.

        It reads what `verify` reads, in a few statements for the whole database instead of several
        for each run.
        """
        checked: Counter[str] = Counter()
        problems = []
        try:
            problems += [
                Problem(self.description, str(line)) for (line,) in self._read(_CHECK_FILE, ()) if line != "ok"
            ]
            for run_id, committed, dropped, stored in self._read(_WRONG_COUNTS, (_PAGE_ROWS,)):
                what = f"{committed} steps were committed, {dropped} deleted by retention, and {stored} are stored"
                problems.append(Problem(f"run {run_id}", what, run_id))
            for run_id, number, status, step_index in self._read(_OPEN_CALLS_OF_COMMITTED_STEPS, (_PAGE_ROWS,)):
                what = f"its step is committed, and the call has no end ({status})"
                problems.append(Problem(f"tool call {run_id}#{number}", what, run_id, step_index))
            for name in ("runs", "steps", "tool_calls"):
                checked[name] = self._read(f"SELECT count(*) FROM {name}", ())[0][0]
        except StoreUnreadable as exc:  # SQLite cannot continue its check
            problems.append(Problem(self.description, str(exc)))
        return VerifyReport(tuple(problems), dict(checked))

    def _damage(self, checked: Counter[str]) -> Iterator[Problem]:
        """Yield the problems of the file and its blobs."""
        for (line,) in self._read("PRAGMA integrity_check(20)", ()):
            if line != "ok":
                yield Problem(self.description, str(line))
        copied = self._file.copied_without_log
        if copied is not None and not copied.was_driven:
            yield Problem(self.description, copied.text)
        checked["databases"] = 1
        for (address,) in self._read("SELECT hash FROM blobs", ()):
            checked["blobs"] += 1
            [(content, size_bytes)] = self._read("SELECT content, size_bytes FROM blobs WHERE hash = ?", (address,))
            name = f"blob {address.hex()[:16]}"
            try:
                data = self._cells.open(content, name)
            except StoreUnreadable as exc:
                yield Problem(name, str(exc))
                continue
            if len(data) != size_bytes or (not self.is_encrypted and hashlib.sha256(data).digest() != address):
                yield Problem(name, "its content is not what its hash says")

    def _run_problems(self, key: int, checked: Counter[str]) -> Iterator[Problem]:
        [(run_id, first, dropped, end, fence)] = self._read(
            "SELECT run_id, first_step, dropped_steps, step_index, fence FROM runs WHERE run_key = ?", (key,)
        )
        checked["runs"] += 1
        try:
            run = self.get_run(run_id)
            for text in () if run is None else (run.state, run.input, run.result):
                json.loads(text or "null")
            self.attempts(run_id)
            self.signals(run_id)
            self.approvals(run_id)
        except (StoreUnreadable, ValueError, RecursionError) as exc:
            yield Problem(f"run {run_id}", str(exc), run_id)
        yield from self._step_problems(key, run_id, checked)
        span = (key, 0, FOREVER)
        [(count, newest)] = self._read(f"SELECT count(*), max(step_key) & 0xffffffff FROM steps WHERE {SPAN}", span)
        if count + dropped != end - first or (count and newest != end - 1):
            what = f"{end - first} steps were committed, {dropped} deleted by retention, and {count} are stored"
            yield Problem(f"run {run_id}", what, run_id)
        leases = {lease.fence for lease in self.leases(run_id)}
        used = f"SELECT DISTINCT fence FROM steps WHERE {SPAN}"
        for (unknown_fence,) in self._read(used, span):
            if unknown_fence not in leases or unknown_fence > fence:
                what = f"steps were written under lease {unknown_fence}, which is not recorded"
                yield Problem(f"run {run_id}", what, run_id)
        yield from self._call_problems(run_id, end, checked)

    def _step_problems(self, key: int, run_id: str, checked: Counter[str]) -> Iterator[Problem]:
        def rows() -> Iterator[tuple[int, Any]]:
            select = f"SELECT step_index, state FROM steps WHERE {SPAN} ORDER BY step_key LIMIT ?4"
            first = 0
            while page := self._read(select, (key, first, FOREVER, _PAGE_ROWS)):
                for index, cell in page:
                    checked["steps"] += 1
                    yield index, cell
                first = page[-1][0] + 1

        name = f"the state of step {{}} of run {run_id!r}".format
        for index, what in self._history.problems(self._file.db, key, rows(), name):
            yield Problem(f"step {index} of run {run_id}", what, run_id, index)

    def _call_problems(self, run_id: str, end: int, checked: Counter[str]) -> Iterator[Problem]:
        tries = Counter(dict(self._read(_TRIES, (run_id,))))
        first = 0
        while numbers := self._read(_CALLS, (run_id, first, _PAGE_ROWS)):
            for (first,) in numbers:
                try:
                    [call] = self.tool_calls(run_id, first=first, limit=1)
                except StoreUnreadable as exc:
                    yield Problem(f"tool call {run_id}#{first}", str(exc), run_id)
                    continue
                checked["tool_calls"] += 1
                what = None
                if call.step_index > end:
                    what = f"it is of step {call.step_index}, and only {end} are committed"
                elif call.step_index < end and call.status in ("started", "in_doubt"):
                    what = f"its step is committed, and the call has no end ({call.status})"
                elif call.status == "done" and call.result is None:
                    what = "it is done and has no result"
                elif tries[call.number] != call.tries - 1:
                    what = f"it was started {call.tries} times, and {tries[call.number]} earlier tries are recorded"
                if what is not None:
                    yield Problem(f"tool call {run_id}#{call.number}", what, run_id, call.step_index)
            first += 1
