"""What a runner's own report says: one reader for each kind of runner.

A reader sees every line of the output, also those that are not kept, in bounded memory. It judges
only a command that ended by itself; time-outs and signals are judged before (`running`).
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

from rule_based_verifier.gates.junit_report import JunitReport
from rule_based_verifier.gates.verdicts import Counts, Failure, Judgement, Verdict

__all__ = ["MAX_FAILURES", "READERS", "ReportReader"]

MAX_FAILURES: Final = 50
_MESSAGE: Final = 300


class ReportReader(Protocol):
    """Reads what one run of one runner reports."""

    def arguments(self) -> tuple[str, ...]:
        """Return what makes the runner report."""

    def feed(self, line: str) -> None:
        """Read one line of the output."""

    def judge(self, exit_code: int) -> Judgement:
        """Return what the report says, after the runner has ended."""


class _Findings:
    """Failures in bounded memory."""

    def __init__(self) -> None:
        self.kept: list[Failure] = []
        self.total = 0

    def add(self, name: str, file: str, line: int | None, message: str) -> None:
        self.total += 1
        if len(self.kept) < MAX_FAILURES:
            self.kept.append(Failure(name, file.removeprefix("./"), line, message.strip()[:_MESSAGE]))


class ExitCodeReader:
    """A command about which nothing but its exit code is known."""

    def __init__(self, _scratch: Path) -> None:
        self.found = _Findings()

    def arguments(self) -> tuple[str, ...]:
        """Return nothing."""
        return ()

    def feed(self, line: str) -> None:
        """Read nothing."""

    def counts(self) -> Counts:
        """Return the counts that are known so far."""
        return Counts()

    def judge(self, exit_code: int) -> Judgement:
        """Judge by the exit code."""
        if exit_code == 0:
            return self._judgement("pass", "it ended with exit code 0")
        if exit_code in (126, 127):
            return self._judgement(
                "cannot_tell",
                f"a program of the command could not be started (exit code {exit_code})",
                "Read output_tail, and install what is missing.",
            )
        return self._judgement("fail", f"it ended with exit code {exit_code}")

    def _judgement(self, verdict: Verdict, reason: str, next_step: str = "") -> Judgement:
        return Judgement(verdict, reason, next_step, self.counts(), tuple(self.found.kept), self.found.total)


class PytestReader(ExitCodeReader):
    """pytest, by the report in XML that it writes at its end."""

    def __init__(self, scratch: Path) -> None:
        super().__init__(scratch)
        self._report = JunitReport(scratch / "report.xml", MAX_FAILURES)
        self._is_missing = False

    def arguments(self) -> tuple[str, ...]:
        """Return the options of the report."""
        return ("-o", "junit_family=xunit1", f"--junit-xml={self._report.path}")

    def feed(self, line: str) -> None:
        """Notice that there is no pytest."""
        self._is_missing = self._is_missing or line.rstrip().endswith("No module named pytest")

    def judge(self, exit_code: int) -> Judgement:
        """Judge by report and exit code; both must say that tests passed."""
        if self._is_missing and exit_code == 1:
            step = "Install pytest in the workspace's environment, or name another command with --test-cmd."
            return Judgement("cannot_tell", "pytest is not installed in this Python", step)
        problem = self._report.read()
        counts, failures, total = self._report.counts, tuple(self._report.failures), self._report.failures_total

        def judged(verdict: Verdict, reason: str, next_step: str = "") -> Judgement:
            return Judgement(verdict, reason, next_step, counts, failures, total)

        if total:
            return judged("fail", f"{counts.failed} failed, {counts.errors} errors")
        if exit_code == 5:
            return judged("cannot_tell", "no tests were collected", "Check the path and the names in extra_args.")
        if exit_code == 4:
            return judged("cannot_tell", "pytest refused its arguments or could not load its configuration", _READ)
        if exit_code == 3:
            return judged("cannot_tell", "pytest had an internal error", _READ)
        if problem is not None:
            return judged("cannot_tell", f"pytest ended with exit code {exit_code}, and {problem}", _READ)
        if exit_code != 0:
            return judged("cannot_tell", f"pytest ended with exit code {exit_code} and reported no failure", _READ)
        if not counts.passed:
            step = "Select tests that can run here."
            return judged("cannot_tell", f"no test ran: {counts.skipped} were skipped", step)
        return judged("pass", f"{counts.passed} passed")


class RuffReader(ExitCodeReader):
    """Findings of ruff, one line each."""

    _LINE = re.compile(r"(?P<file>[^:\n]+):(?P<line>\d+):\d+: (?P<code>[A-Za-z-]+\d*):? (?P<text>.*)")

    def __init__(self, scratch: Path) -> None:
        super().__init__(scratch)
        self._has_no_files = False

    def arguments(self) -> tuple[str, ...]:
        """Return the format of one line for each finding."""
        return ("--output-format=concise",)

    def feed(self, line: str) -> None:
        """Read one finding."""
        if found := self._LINE.fullmatch(line):
            self.found.add(found["code"], found["file"], int(found["line"]), found["text"])
        self._has_no_files = self._has_no_files or "No Python files found" in line

    def counts(self) -> Counts:
        """Return the number of findings."""
        return Counts(failed=self.found.total)

    def judge(self, exit_code: int) -> Judgement:
        """Judge: 1 is findings, 2 is a problem of ruff itself."""
        if exit_code == 1:
            return self._judgement("fail", f"{self.found.total} findings")
        if exit_code != 0:
            return self._judgement("cannot_tell", f"ruff could not check (exit code {exit_code})", _READ)
        if self._has_no_files:
            return self._judgement("cannot_tell", "no Python files were found", "Check the paths in extra_args.")
        return self._judgement("pass", "no findings")


class CargoTestReader(ExitCodeReader):
    """The summary lines of cargo's test harness."""

    _SUMMARY = re.compile(r"test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored;")
    _FAILED = re.compile(r"test (?P<name>\S+)(?: - should panic)? \.\.\. FAILED")
    _PANIC = re.compile(r"thread '(?P<name>[^']+)'.* panicked at (?:'.*', )?(?P<file>[^:]+):(?P<line>\d+)")

    def __init__(self, scratch: Path) -> None:
        super().__init__(scratch)
        self._sums = [0, 0, 0]
        self._places: dict[str, tuple[str, int]] = {}
        self._names: list[str] = []

    def feed(self, line: str) -> None:
        """Read one line."""
        if found := self._SUMMARY.search(line):
            self._sums = [before + int(now) for before, now in zip(self._sums, found.groups(), strict=True)]
        elif found := self._FAILED.fullmatch(line.strip()):
            if len(self._names) < MAX_FAILURES:
                self._names.append(found["name"])
        elif (found := self._PANIC.search(line)) and len(self._places) < 10 * MAX_FAILURES:
            self._places[found["name"]] = (found["file"], int(found["line"]))
        elif found := _COMPILER.fullmatch(line.strip()):
            self.found.add("build", found["file"], int(found["line"]), "does not compile")

    def counts(self) -> Counts:
        """Return the sums over all test programs."""
        return Counts(self._sums[0], self._sums[1], None, self._sums[2])

    def judge(self, exit_code: int) -> Judgement:
        """Judge by exit code and summaries."""
        for name in self._names:
            file, line = self._places.get(name, ("", None))
            self.found.add(name, file, line, "failed")
        passed, failed, ignored = self._sums
        if failed:
            return self._judgement("fail", f"{failed} failed")
        if exit_code != 0:
            if self.found.total:
                return self._judgement("fail", "the code does not compile")
            return self._judgement("cannot_tell", f"cargo ended with exit code {exit_code} and no failed test", _READ)
        if not passed:
            return self._judgement("cannot_tell", f"no test ran: {ignored} were ignored", "Check extra_args.")
        return self._judgement("pass", f"{passed} passed")


class PlacesReader(ExitCodeReader):
    """A checker that writes `file:line:column: text` for each finding (clippy, go vet)."""

    def feed(self, line: str) -> None:
        """Read one finding."""
        if found := _PLACE.fullmatch(line.strip()):
            self.found.add("finding", found["file"], int(found["line"]), found["text"])

    def judge(self, exit_code: int) -> Judgement:
        """Judge by exit code; without a finding, a failure is one of the checker itself."""
        if exit_code != 0 and not self.found.total:
            return self._judgement("cannot_tell", f"it ended with exit code {exit_code} and no finding", _READ)
        return super().judge(exit_code)


class GoTestReader(ExitCodeReader):
    """The events of `go test -json`."""

    def __init__(self, scratch: Path) -> None:
        super().__init__(scratch)
        self._sums = {"pass": 0, "fail": 0, "skip": 0}
        self._packages_failed = 0
        self._last_place: dict[str, tuple[str, int, str]] = {}

    def arguments(self) -> tuple[str, ...]:
        """Return the option for events."""
        return ("-json",)

    def feed(self, line: str) -> None:
        """Read one event; other lines come from the compiler."""
        event: Any = None
        if line.startswith("{"):
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                return
        text = event.get("Output", "") if isinstance(event, dict) else line
        name = str(event.get("Test", "")) if isinstance(event, dict) else ""
        if isinstance(text, str) and (found := _PLACE.fullmatch(text.strip())):
            if name:
                if len(self._last_place) < 10 * MAX_FAILURES:
                    self._last_place[name] = (found["file"], int(found["line"]), found["text"])
            else:
                self.found.add("build", found["file"], int(found["line"]), found["text"])
        if not isinstance(event, dict) or event.get("Action") not in self._sums:
            return
        if not name:
            self._packages_failed += event["Action"] == "fail"
            return
        self._sums[event["Action"]] += 1
        if event["Action"] == "fail":
            self.found.add(name, *self._last_place.get(name, ("", None, "failed")))

    def counts(self) -> Counts:
        """Return the numbers of events."""
        return Counts(self._sums["pass"], self._sums["fail"], None, self._sums["skip"])

    def judge(self, exit_code: int) -> Judgement:
        """Judge by exit code and events."""
        if self._sums["fail"] or (exit_code != 0 and (self.found.total or self._packages_failed)):
            return self._judgement("fail", f"{self._sums['fail']} tests and {self._packages_failed} packages failed")
        if exit_code != 0:
            return self._judgement("cannot_tell", f"go ended with exit code {exit_code} and no failed test", _READ)
        if not self._sums["pass"]:
            return self._judgement("cannot_tell", "no test ran", "Check the packages and -run in extra_args.")
        return self._judgement("pass", f"{self._sums['pass']} passed")


class NpmReader(ExitCodeReader):
    """A script of package.json; the summaries of the usual test runners are understood."""

    _SUMMARIES: Final = tuple(
        (name, re.compile(pattern))
        for name, pattern in (
            ("passed", r"(?:#|ℹ) pass (\d+)|\s*Tests:?\s.*?(\d+) passed.*|\s*(\d+) passing\b.*"),
            ("failed", r"(?:#|ℹ) fail (\d+)|\s*Tests:?\s.*?(\d+) failed.*|\s*(\d+) failing\b.*"),
            ("skipped", r"(?:#|ℹ) skipped (\d+)|\s*Tests:?\s.*?(\d+) skipped.*|\s*(\d+) pending\b.*"),
        )
    )

    def __init__(self, scratch: Path) -> None:
        super().__init__(scratch)
        self._sums: dict[str, int] = {}

    def feed(self, line: str) -> None:
        """Read one line."""
        for name, pattern in self._SUMMARIES:
            if found := pattern.fullmatch(line):
                self._sums[name] = self._sums.get(name, 0) + int(next(filter(None, found.groups())))
        if found := _PLACE.fullmatch(line.strip()):
            self.found.add("finding", found["file"], int(found["line"]), found["text"])

    def counts(self) -> Counts:
        """Return the sums of the summaries."""
        return Counts(self._sums.get("passed"), self._sums.get("failed"), None, self._sums.get("skipped"))

    def judge(self, exit_code: int) -> Judgement:
        """Judge by the exit code; a summary without tests, or with failures, is no pass."""
        if exit_code == 0 and self._sums.get("failed"):
            return self._judgement("fail", f"{self._sums['failed']} failed, although the script ended with 0")
        if exit_code == 0 and self._sums and not self._sums.get("passed"):
            return self._judgement("cannot_tell", "no test ran", "Check the paths in extra_args.")
        return super().judge(exit_code)


_READ: Final = "Read output_tail."
_COMPILER: Final = re.compile(r"--> (?P<file>[^:]+):(?P<line>\d+):\d+")
_PLACE: Final = re.compile(r"(?P<file>[^\s:][^:]{0,300}):(?P<line>\d{1,7}):(?:\d+:)? (?P<text>.+)")

READERS: Final[dict[str, Callable[[Path], ReportReader]]] = {
    "pytest": PytestReader,
    "ruff": RuffReader,
    "cargo test": CargoTestReader,
    "cargo clippy": PlacesReader,
    "go test": GoTestReader,
    "go vet": PlacesReader,
    "npm": NpmReader,
    "command": ExitCodeReader,
}
"""A new reader for each run, by kind of runner; it gets a folder for files of the report."""
