"""Measure one value: HTTP, TCP, TLS, disk, age of a file, Prometheus, output of a command, or
result of an MCP tool.

Each kind has one function. What it reads is bounded (bytes, time, no redirects), because the target
may be broken.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import shutil
import ssl
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from loom_ops._checks.answers import json_number, number_of
from loom_ops._checks.mcp_tool import mcp_tool
from loom_ops._commands.run import run_command
from loom_ops._errors import NotMeasuredError, TargetError
from loom_ops._runbook.destinations import host_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from loom_ops._checks.answers import Measured
    from loom_ops._commands.context import ExecutionContext
    from loom_ops._runbook.model import Check, CheckKind

__all__ = ["measure"]

MAX_BODY_BYTES: Final = 64_000
MAX_SAMPLES: Final = 20
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?", re.ASCII)


async def measure(check: Check, context: ExecutionContext) -> Measured:
    """Run the measurement of a check once.

    Raises:
        TargetError: The target did not answer, or not as expected.
        NotMeasuredError: It could not be measured for another reason.
        LoomOpsError: A secret is missing, or no rule allows the command.
        OSError, TimeoutError: The target does not answer.
        ValueError, TypeError, AttributeError, re.error: An option of the check is malformed.
    """
    return await _MEASURE[check.kind](check, context)


async def _http(check: Check, context: ExecutionContext) -> Measured:
    options = check.options
    quantity = options.get("measure", "latency")
    samples = options.get("samples", 1)
    if not isinstance(samples, int) or not 1 <= samples <= MAX_SAMPLES:
        raise NotMeasuredError(f"samples is {samples!r}, not a number from 1 to {MAX_SAMPLES}")
    latencies_s = []
    status, body = 0, b""
    for _ in range(samples):
        before = time.monotonic()
        status, body = await _fetch(check, context)
        latencies_s.append(time.monotonic() - before)
    expected = options.get("status")
    if expected is not None and status != expected:
        raise TargetError(f"HTTP {status}, expected {expected}")
    if expected is None and not 200 <= status < 300:
        raise TargetError(f"HTTP {status}")
    text = body.decode("utf-8", "replace")
    if "body" in options and not re.search(options["body"], text):
        raise TargetError(f"HTTP {status}, but {options['body']!r} is not in the answer")
    if quantity == "latency":
        latency_s = sorted(latencies_s)[math.ceil(0.95 * samples) - 1]
        return latency_s, f"{'p95 ' if samples > 1 else ''}{latency_s:.3f} s (HTTP {status})"
    if quantity == "status":
        return float(status), f"HTTP {status}"
    if isinstance(quantity, str) and quantity.startswith("json."):
        return json_number(text, quantity.removeprefix("json."))
    raise NotMeasuredError(f"measure is {quantity!r}; use latency, status or json.KEY")


async def _fetch(check: Check, context: ExecutionContext) -> tuple[int, bytes]:
    """Send one request, without redirects and proxies; return status and start of the body."""
    import httpx

    url = str(check.options["url"])
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise NotMeasuredError(f"{url!r} is not an http or https address")
    headers = {
        str(name): context.vault.resolve(str(value), host=host_of(url))
        for name, value in (check.options.get("headers") or {}).items()
    }
    method = str(check.options.get("method", "GET")).upper()
    if method not in ("GET", "HEAD"):
        raise NotMeasuredError(f"method {method} may change something; use GET or HEAD")
    body = b""
    try:
        async with (
            httpx.AsyncClient(follow_redirects=False, trust_env=False, timeout=check.timeout_s) as client,
            client.stream(method, url, headers=headers, params=check.options.get("params")) as answer,
        ):
            if answer.is_redirect:
                raise TargetError(f"HTTP {answer.status_code} to {answer.headers.get('location', '?')}; not followed")
            async for piece in answer.aiter_bytes():
                body += piece
                if len(body) > MAX_BODY_BYTES:
                    break
            return answer.status_code, body[:MAX_BODY_BYTES]
    except httpx.InvalidURL as exc:
        raise NotMeasuredError(f"{url!r} is not an address ({exc})") from exc
    except httpx.TimeoutException as exc:
        raise TimeoutError from exc
    except httpx.HTTPError as exc:
        raise TargetError(
            f"{parts.hostname}:{parts.port or ''} {str(exc) or type(exc).__name__}".replace("\n", " ")
        ) from exc


async def _prometheus(check: Check, context: ExecutionContext) -> Measured:
    base = str(check.options["url"]).rstrip("/")
    options = {
        "url": f"{base}/api/v1/query",
        "headers": check.options.get("headers"),
        "params": {"query": check.options["query"]},
    }
    status, body = await _fetch(replace(check, options=options), context)
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise NotMeasuredError(f"HTTP {status}, and the answer is not JSON of at most {MAX_BODY_BYTES} bytes") from exc
    if not isinstance(answer, dict) or answer.get("status") != "success":
        error = answer.get("error") if isinstance(answer, dict) else None
        raise NotMeasuredError(f"HTTP {status}: {error or 'no success'}")
    try:
        found = answer["data"]["result"]
        if answer["data"]["resultType"] == "scalar":
            value = found[1]
        elif len(found) == 1:
            value = found[0]["value"][1]
        else:
            raise NotMeasuredError(f"the query returns {len(found)} series, not one")
    except (LookupError, TypeError) as exc:
        raise NotMeasuredError("the answer is not that of an instant query") from exc
    number = number_of(value)
    return number, f"{number:g}" if number is not None else repr(value)


async def _tcp(check: Check, context: ExecutionContext) -> Measured:
    del context
    before = time.monotonic()
    host, port = _address(check)
    _, writer = await asyncio.open_connection(host, port)
    latency_s = time.monotonic() - before
    writer.close()
    return latency_s, f"{host}:{port} answers in {latency_s:.3f} s"


async def _tls(check: Check, context: ExecutionContext) -> Measured:
    """Measure the remaining validity of a certificate; one that is not trusted is not measured."""
    host, port = _address(check)
    try:
        _, writer = await asyncio.open_connection(host, port, ssl=ssl.create_default_context())
    except ssl.SSLCertVerificationError as exc:
        raise TargetError(f"{host}:{port}: {exc.verify_message}") from exc
    certificate = writer.get_extra_info("peercert") or {}
    writer.close()
    left_s = ssl.cert_time_to_seconds(certificate["notAfter"]) - context.clock()
    return left_s, f"the certificate of {host} is valid for {left_s / 86_400:.1f} days"


def _address(check: Check) -> tuple[str, int]:
    host, port = str(check.options["host"]), str(check.options["port"])
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise NotMeasuredError(f"{host!r}:{port!r} is not a host and a port")
    return host, int(port)


async def _disk(check: Check, context: ExecutionContext) -> Measured:
    path = context.workspace / str(check.options["path"])
    disk = shutil.disk_usage(path)
    percent = 100 * disk.used / (disk.used + disk.free) if disk.used + disk.free else 0.0
    return percent, f"{path} is {percent:.1f}% full"


async def _file_age(check: Check, context: ExecutionContext) -> Measured:
    path = context.workspace / str(check.options["path"])
    age_s = context.clock() - path.stat().st_mtime
    return age_s, f"{path.name} is {age_s:.0f} s old"


async def _command(check: Check, context: ExecutionContext) -> Measured:
    if context.rules is None:
        raise NotMeasuredError(context.why_off)
    argv = [str(word) for word in check.options["argv"]]
    ended = await run_command(
        argv,
        rules=context.rules,
        effect="read",
        timeout_s=check.timeout_s,
        workspace=context.workspace,
        vault=context.vault,
    )
    if not ended.is_ok:
        raise NotMeasuredError(str(ended))
    if "body" in check.options and not re.search(check.options["body"], ended.output):
        raise NotMeasuredError(f"{check.options['body']!r} is not in the output")
    number = _NUMBER.search(ended.output)
    first = (ended.output.strip().splitlines() or [""])[0]
    return float(number[0]) if number else None, first[:200] or "no output"


_MEASURE: Final[dict[CheckKind, Callable[[Check, ExecutionContext], Awaitable[Measured]]]] = {
    "http": _http,
    "tcp": _tcp,
    "tls": _tls,
    "disk": _disk,
    "file-age": _file_age,
    "prometheus": _prometheus,
    "command": _command,
    "mcp": mcp_tool,
}
