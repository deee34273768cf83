"""Verdicts and their evidence, as plain data.

A verdict is `pass` only when a runner ended with 0 and reported what it checked. Whatever did not
run, or did not say what it ran, is `cannot_tell`, with a reason and the next step.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Counts", "Evidence", "Failure", "GateResult", "Judgement", "Verdict", "combined"]

Verdict: TypeAlias = Literal["pass", "fail", "cannot_tell"]


@dataclass(frozen=True)
class Failure:
    """One test that failed, or one finding of a linter.

    Args:
        name: The id of the test, or the code of the rule.
        file: The file, relative to the root; empty when the runner did not say it.
        line: The line, from 1; None when the runner did not say it.
        message: What failed, one line.
    """

    name: str
    file: str
    line: int | None
    message: str


@dataclass(frozen=True)
class Counts:
    """How many checks ended how; None where the runner did not say it."""

    passed: int | None = None
    failed: int | None = None
    errors: int | None = None
    skipped: int | None = None

    @property
    def ran(self) -> int:
        """How many were really run."""
        return sum(number or 0 for number in (self.passed, self.failed, self.errors))


@dataclass(frozen=True)
class Judgement:
    """What a runner's report says.

    Args:
        verdict: The verdict.
        reason: Why, in one sentence.
        next_step: What to do when it cannot be told; otherwise empty.
        counts: The counts.
        failures: The failures, as many as are kept.
        failures_total: How many there are.
    """

    verdict: Verdict
    reason: str
    next_step: str = ""
    counts: Counts = Counts()
    failures: tuple[Failure, ...] = ()
    failures_total: int = 0


@dataclass(frozen=True)
class Evidence:
    """One command that was run, or that would have been run, and what came of it.

    Args:
        runner: pytest, npm, go, cargo, ruff or command.
        argv: Program and arguments; no shell is used.
        verdict: The verdict about this command.
        reason: Why.
        next_step: What to do when it cannot be told; otherwise empty.
        exit_code: The exit code; negative for a signal; None when it did not run or was killed at
            the time limit.
        counts: How many checks ended how.
        failures: What failed, at most 50.
        failures_total: How many failed.
        output_tail: The end of the output, with secrets masked.
        output_bytes: How much it wrote.
        output_truncated: Whether `output_tail` omits something.
        timed_out: Whether it was killed at the time limit.
        network: Whether it could use the network.
        duration_ms: How long it ran.
    """

    runner: str
    argv: list[str]
    verdict: Verdict
    reason: str
    next_step: str
    exit_code: int | None
    counts: Counts
    failures: list[Failure]
    failures_total: int
    output_tail: str
    output_bytes: int
    output_truncated: bool
    timed_out: bool
    network: bool
    duration_ms: int


@dataclass(frozen=True)
class GateResult:
    """The verdict of a gate.

    Args:
        gate: `tests` or `lint`.
        verdict: `pass` only when every command passed.
        reason: Why.
        next_step: What to do when it cannot be told; otherwise empty.
        evidence: The commands, in the order in which they ran.
        duration_ms: How long all took.
    """

    gate: Literal["tests", "lint"]
    verdict: Verdict
    reason: str
    next_step: str
    evidence: list[Evidence]
    duration_ms: int

    def text(self) -> str:
        """Return the result for people."""
        lines = [f"{self.gate}: {self.verdict} ({self.reason})"]
        for each in self.evidence:
            ended = "not run" if each.exit_code is None and not each.timed_out else f"exit code {each.exit_code}"
            counts = ", ".join(f"{number} {name}" for name, number in vars(each.counts).items() if number is not None)
            facts = [each.verdict, "timed out" if each.timed_out else ended, *([counts] if counts else [])]
            lines += [f"$ {' '.join(each.argv)}", f"  {'; '.join(facts)}; {each.duration_ms} ms"]
            if each.reason != self.reason:
                lines.append(f"  {each.reason}")
            for failure in each.failures:
                place = f"{failure.file}:{failure.line}" if failure.line else failure.file
                lines.append(f"  {place or '-'}: {failure.name}: {failure.message}")
            if each.failures_total > len(each.failures):
                lines.append(f"  ... and {each.failures_total - len(each.failures)} more")
            if each.verdict != "pass" and each.output_tail:
                lines += ["  output (end):", *(f"  | {line}" for line in each.output_tail.splitlines()[-30:])]
        if self.next_step:
            lines.append(f"next step: {self.next_step}")
        return "\n".join(lines)


def combined(gate: Literal["tests", "lint"], evidence: list[Evidence], duration_ms: int) -> GateResult:
    """Return the result of a gate: a failure decides, then a command that cannot tell."""
    for verdict in ("fail", "cannot_tell"):
        for each in evidence:
            if each.verdict == verdict:
                return GateResult(gate, each.verdict, each.reason, each.next_step, evidence, duration_ms)
    reason = evidence[0].reason if len(evidence) == 1 else f"all {len(evidence)} commands passed"
    return GateResult(gate, "pass", reason, "", evidence, duration_ms)
