"""Ask the world: HTTP, TCP, TLS, disk, age of a file, Prometheus, or a command under the allow rules.

A check never assumes. What it could not measure is `ok=False` with the reason as evidence; there is no constant
answer and no default target. What it reads is bounded (bytes, time, redirects: none), because the thing it looks at
may be broken. A result holds what was measured, what was wanted and the raw evidence, without secrets.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import re
import shutil
import ssl
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from loom_ops._command import run_command
from loom_ops._errors import LoomOpsError
from loom_ops._expect import read_expectation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from loom_ops._rules import Rules
    from loom_ops._runbook import Check, CheckKind
    from loom_ops._secrets import Vault

__all__ = ["CheckResult", "World", "run_check"]

MAX_BODY_BYTES: Final = 64_000
MAX_SAMPLES: Final = 20
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check found.

    Args:
        value: What was measured: seconds, percent or the number itself; None when there was nothing to measure.
        expect: What was wanted; None when being there was enough.
        evidence: What was seen, in one line.
    """

    id: str
    ok: bool
    value: float | None
    expect: str | None
    evidence: str
    duration_ms: int

    def as_json(self) -> dict[str, Any]:
        found = asdict(self)
        found["text"] = found.pop("evidence")
        return found

    def __str__(self) -> str:
        return f"{self.id} {'ok' if self.ok else 'not ok'}: {self.evidence}"


@dataclass(frozen=True, slots=True)
class World:
    """What a check may touch.

    Args:
        rules: The allow rules; None when commands are off, and then a check by command is not ok.
    """

    workspace: Path
    rules: Rules | None
    vault: Vault
    clock: Callable[[], float] = time.time


class _NotMeasuredError(Exception):
    """The check could not be made; its text is the evidence."""


_Measured = tuple[float | None, str]


async def run_check(check: Check, world: World) -> CheckResult:
    """Make a check, again and again as far as its retries go, and return the last finding."""
    found = await _once(check, world)
    for _ in range(check.retries):
        if found.ok:
            break
        await asyncio.sleep(check.interval_s)
        found = await _once(check, world)
    return found


async def _once(check: Check, world: World) -> CheckResult:
    started = time.monotonic()
    value: float | None = None
    ok = False
    try:
        async with asyncio.timeout(check.timeout_s):
            value, evidence = await _MEASURE[check.kind](check, world)
    except TimeoutError:
        evidence = f"no answer within {check.timeout_s:g} s"
    except (_NotMeasuredError, LoomOpsError) as exc:
        evidence = str(exc)
    except (ValueError, re.error) as exc:  # an address, a header or a pattern that is none
        evidence = f"the check is wrong: {exc}".replace("\n", " ")
    except OSError as exc:
        evidence = exc.strerror or str(exc) or type(exc).__name__
    else:
        ok = True
        if check.expect is not None:
            ok, evidence = _judged(check.expect, value, evidence)
    duration_ms = round((time.monotonic() - started) * 1000)
    return CheckResult(check.id, ok, value, check.expect, world.vault.masked(evidence)[:500], duration_ms)


def _judged(expect: str, value: float | None, evidence: str) -> tuple[bool, str]:
    try:
        wanted = read_expectation(expect)
    except ValueError as exc:
        return False, str(exc)
    if value is None:
        return False, f"{evidence}; there is no number in it to compare"
    return wanted.holds(value), f"{evidence}, wanted {wanted.text}"


# ---------------------------------------------------------------------- one function a kind


async def _http(check: Check, world: World) -> _Measured:
    options = check.options
    measure = options.get("measure", "latency")
    samples = options.get("samples", 1)
    if not isinstance(samples, int) or not 1 <= samples <= MAX_SAMPLES:
        raise _NotMeasuredError(f"samples is {samples!r}, not a number from 1 to {MAX_SAMPLES}")
    latencies = []
    status, body = 0, b""
    for _ in range(samples):
        before = time.monotonic()
        status, body = await _fetch(check, world)
        latencies.append(time.monotonic() - before)
    wanted = options.get("status")
    if wanted is not None and status != wanted:
        raise _NotMeasuredError(f"HTTP {status}, wanted {wanted}")
    if wanted is None and not 200 <= status < 300:
        raise _NotMeasuredError(f"HTTP {status}")
    text = body.decode("utf-8", "replace")
    if "body" in options and not re.search(options["body"], text):
        raise _NotMeasuredError(f"HTTP {status}, but {options['body']!r} is not in the answer")
    if measure == "latency":
        latency = sorted(latencies)[math.ceil(0.95 * samples) - 1]
        return latency, f"{'p95 ' if samples > 1 else ''}{latency:.3f} s (HTTP {status})"
    if measure == "status":
        return float(status), f"HTTP {status}"
    if isinstance(measure, str) and measure.startswith("json."):
        return _json_number(text, measure.removeprefix("json.").split("."))
    raise _NotMeasuredError(f"measure is {measure!r}; use latency, status or json.KEY")


async def _fetch(check: Check, world: World) -> tuple[int, bytes]:
    """Make one request; no redirect is followed, no proxy is asked, and no more than the head of the body is read."""
    import httpx

    url = str(check.options["url"])
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _NotMeasuredError(f"{url!r} is not an http or https address")
    headers = {
        str(name): world.vault.filled(str(value)) for name, value in (check.options.get("headers") or {}).items()
    }
    method = str(check.options.get("method", "GET")).upper()
    if method not in ("GET", "HEAD"):
        raise _NotMeasuredError(f"method {method} may change something; use GET or HEAD")
    body = b""
    try:
        async with (
            httpx.AsyncClient(follow_redirects=False, trust_env=False, timeout=check.timeout_s) as client,
            client.stream(method, url, headers=headers, params=check.options.get("params")) as answer,
        ):
            if answer.is_redirect:
                raise _NotMeasuredError(
                    f"HTTP {answer.status_code} to {answer.headers.get('location', '?')}; not followed"
                )
            async for piece in answer.aiter_bytes():
                body += piece
                if len(body) > MAX_BODY_BYTES:
                    break
            return answer.status_code, body[:MAX_BODY_BYTES]
    except httpx.InvalidURL as exc:
        raise _NotMeasuredError(f"{url!r} is not an address ({exc})") from exc
    except httpx.TimeoutException as exc:
        raise TimeoutError from exc
    except httpx.HTTPError as exc:
        raise _NotMeasuredError(
            f"{parts.hostname}:{parts.port or ''} {str(exc) or type(exc).__name__}".replace("\n", " ")
        ) from exc


def _json_number(text: str, path: list[str]) -> _Measured:
    try:
        value = json.loads(text)
        for key in path:
            value = value[int(key)] if isinstance(value, list) else value[key]
    except (ValueError, LookupError, TypeError, RecursionError) as exc:
        raise _NotMeasuredError(f"the answer has no {'.'.join(path)}") from exc
    return _number(value), f"{'.'.join(path)} is {value!r:.100}"


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    with contextlib.suppress(ValueError, OverflowError):
        return float(value)
    return None


async def _prometheus(check: Check, world: World) -> _Measured:
    from dataclasses import replace

    base = str(check.options["url"]).rstrip("/")
    options = {
        "url": f"{base}/api/v1/query",
        "headers": check.options.get("headers"),
        "params": {"query": check.options["query"]},
    }
    status, body = await _fetch(replace(check, options=options), world)
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise _NotMeasuredError(f"HTTP {status}, and the answer is not JSON of at most {MAX_BODY_BYTES} bytes") from exc
    if not isinstance(answer, dict) or answer.get("status") != "success":
        said = answer.get("error") if isinstance(answer, dict) else None
        raise _NotMeasuredError(f"HTTP {status}: {said or 'no success'}")
    try:
        found = answer["data"]["result"]
        if answer["data"]["resultType"] == "scalar":
            value = found[1]
        elif len(found) == 1:
            value = found[0]["value"][1]
        else:
            raise _NotMeasuredError(f"the query gives {len(found)} series, not one")
    except (LookupError, TypeError) as exc:
        raise _NotMeasuredError("the answer is not that of an instant query") from exc
    number = _number(value)
    return number, f"{number:g}" if number is not None else repr(value)


async def _tcp(check: Check, world: World) -> _Measured:
    del world
    before = time.monotonic()
    host, port = _address(check)
    _, writer = await asyncio.open_connection(host, port)
    latency = time.monotonic() - before
    writer.close()
    return latency, f"{host}:{port} answers in {latency:.3f} s"


async def _tls(check: Check, world: World) -> _Measured:
    """Measure how long a certificate is still good; one that is not trusted at all is not measured."""
    host, port = _address(check)
    try:
        _, writer = await asyncio.open_connection(host, port, ssl=ssl.create_default_context())
    except ssl.SSLCertVerificationError as exc:
        raise _NotMeasuredError(f"{host}:{port}: {exc.verify_message}") from exc
    certificate = writer.get_extra_info("peercert") or {}
    writer.close()
    left = ssl.cert_time_to_seconds(certificate["notAfter"]) - world.clock()
    return left, f"the certificate of {host} is good for {left / 86_400:.1f} days"


def _address(check: Check) -> tuple[str, int]:
    host, port = str(check.options["host"]), str(check.options["port"])
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise _NotMeasuredError(f"{host!r}:{port!r} is not a host and a port")
    return host, int(port)


async def _disk(check: Check, world: World) -> _Measured:
    path = world.workspace / str(check.options["path"])
    used = shutil.disk_usage(path)
    percent = 100 * used.used / (used.used + used.free) if used.used + used.free else 0.0
    return percent, f"{path} is {percent:.1f}% full"


async def _file_age(check: Check, world: World) -> _Measured:
    path = world.workspace / str(check.options["path"])
    age = world.clock() - path.stat().st_mtime
    return age, f"{path.name} is {age:.0f} s old"


async def _command(check: Check, world: World) -> _Measured:
    if world.rules is None:
        raise _NotMeasuredError("commands are off")
    argv = [str(word) for word in check.options["argv"]]
    ended = await run_command(
        argv, rules=world.rules, effect="read", timeout_s=check.timeout_s, workspace=world.workspace, vault=world.vault
    )
    if not ended.is_ok:
        raise _NotMeasuredError(str(ended))
    if "body" in check.options and not re.search(check.options["body"], ended.output):
        raise _NotMeasuredError(f"{check.options['body']!r} is not in the output")
    number = _NUMBER.search(ended.output)
    first = (ended.output.strip().splitlines() or [""])[0]
    return float(number[0]) if number else None, first[:200] or "no output"


_MEASURE: Final[dict[CheckKind, Callable[[Check, World], Awaitable[_Measured]]]] = {
    "http": _http,
    "tcp": _tcp,
    "tls": _tls,
    "disk": _disk,
    "file-age": _file_age,
    "prometheus": _prometheus,
    "command": _command,
}
