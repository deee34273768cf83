"""Run a check: measure, compare with the expectation, repeat while it fails and has retries left.

A value that could not be measured is `ok=False`, with the reason as evidence; there is no constant
answer and no default target. A result holds the measured value, the expectation and the raw
evidence, with secrets masked.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from loom_ops._checks.measure import measure
from loom_ops._errors import LoomOpsError, TargetError
from loom_ops._runbook.expectation import parse_expectation

if TYPE_CHECKING:
    from loom_ops._commands.context import ExecutionContext
    from loom_ops._runbook.model import Check

__all__ = ["CheckResult", "CheckVerdict", "run_check"]

CheckVerdict = Literal["healthy", "unhealthy", "cannot_tell"]

_TARGETS: Final = frozenset({"http", "tcp", "tls"})
"""The kinds that ask the service itself: no answer is an answer."""
_JUDGED: Final = _TARGETS | {"mcp"}
"""The kinds whose answer can say that something is wrong."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of a check.

    Args:
        value: The measured value: seconds, percent or the number itself; None when there was no
            number.
        expect: The expectation; None when any answer passes.
        evidence: The observation, in one line.
        verdict: `cannot_tell` when nothing was measured, and that does not say anything about the
            target: commands are off, a secret is missing, an option is malformed.
    """

    id: str
    ok: bool
    value: float | None
    expect: str | None
    evidence: str
    duration_ms: int
    verdict: CheckVerdict = "cannot_tell"

    def as_json(self) -> dict[str, Any]:
        """Return the result of the tool call."""
        found = asdict(self)
        found["text"] = found.pop("evidence")
        del found["verdict"]  # what is stored stays as it was
        return found


async def run_check(check: Check, context: ExecutionContext) -> CheckResult:
    """Run a check, again while it fails and has retries left; return the last result."""
    result = await _run_once(check, context)
    for _ in range(check.retries):
        if result.ok:
            break
        await asyncio.sleep(check.interval_s)
        result = await _run_once(check, context)
    return result


async def _run_once(check: Check, context: ExecutionContext) -> CheckResult:
    started = time.monotonic()
    value: float | None = None
    ok = False
    verdict: CheckVerdict = "unhealthy" if check.kind in _TARGETS else "cannot_tell"
    try:
        async with asyncio.timeout(check.timeout_s):
            value, evidence = await measure(check, context)
    except TimeoutError:
        evidence = f"no answer within {check.timeout_s:g} s"
    except LoomOpsError as exc:
        evidence = str(exc)
        is_answer = isinstance(exc, TargetError) and check.kind in _JUDGED
        verdict = "unhealthy" if is_answer else "cannot_tell"
    except (ValueError, TypeError, AttributeError, re.error) as exc:  # an option is malformed
        evidence = f"the check is wrong: {exc}".replace("\n", " ")
        verdict = "cannot_tell"
    except OSError as exc:
        evidence = exc.strerror or str(exc) or type(exc).__name__
    else:
        ok = True
        if check.expect is not None:
            ok, evidence = _compare(check.expect, value, evidence)
        verdict = "healthy" if ok else "cannot_tell" if value is None else "unhealthy"
    duration_ms = round((time.monotonic() - started) * 1000)
    return CheckResult(check.id, ok, value, check.expect, context.vault.mask(evidence)[:500], duration_ms, verdict)


def _compare(expect: str, value: float | None, evidence: str) -> tuple[bool, str]:
    try:
        expected = parse_expectation(expect)
    except ValueError as exc:
        return False, str(exc)
    if value is None:
        return False, f"{evidence}; there is no number in it to compare"
    return expected.holds(value), f"{evidence}, expected {expected.text}"
