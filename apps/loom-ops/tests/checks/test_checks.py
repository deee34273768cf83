import asyncio
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from loom_ops._checks.run import CheckResult, run_check
from loom_ops._commands.context import ExecutionContext
from loom_ops._commands.rules_file import parse_rules
from loom_ops._commands.secrets import Vault
from loom_ops._runbook.expectation import parse_expectation
from loom_ops._runbook.model import Check, SecretSource


@pytest.fixture
def context(tmp_path: Path) -> ExecutionContext:
    token = SecretSource("token", 1, "env", "TOKEN", hosts=("127.0.0.1",))
    vault = Vault({"token": token}, tmp_path, {"TOKEN": "hunter2hunter2"})
    rules = parse_rules(
        "allow: [{argv: [echo, '{x}'], params: {x: {pattern: '.*', may: [text]}}, effect: read}, {argv: [false], effect: read}]",
        "r",
    )
    return ExecutionContext(tmp_path, rules, vault)


def ask(
    context: ExecutionContext,
    kind: Any,
    expect: str | None = None,
    *,
    timeout_s: float = 5,
    retries: int = 0,
    **options: Any,
) -> CheckResult:
    check = Check("it", 1, "top", kind, options, expect, timeout_s, retries, 0.01)
    return asyncio.run(run_check(check, context))


def test_latency_is_measured_in_seconds(context: ExecutionContext, service: Any) -> None:
    fast = ask(context, "http", "< 60", url=service.url)
    assert fast.ok and fast.value is not None and "HTTP 200" in fast.evidence
    service.delay_s = 0.3
    slow = ask(context, "http", "< 200ms", url=service.url, samples=2)
    assert not slow.ok and slow.value is not None and slow.value >= 0.3 and "expected < 200ms" in slow.evidence
    assert len(service.asked) == 3


@pytest.mark.parametrize(
    ("options", "expect", "ok", "expected"),
    [
        ({}, None, True, "HTTP 200"),
        ({"measure": "status"}, "== 200", True, "HTTP 200"),
        ({"measure": "json.queue.depth"}, "< 10", True, "queue.depth is 7"),
        ({"measure": "json.parts.1"}, "> 3", False, "parts.1 is 2.5, expected > 3"),
        ({"measure": "json.state"}, "> 3", False, "no number"),
        ({"measure": "json.nothing"}, "> 3", False, "has no nothing"),
        ({"measure": "beauty"}, None, False, "measure is 'beauty'"),
        ({"body": "fi.e"}, None, True, "HTTP 200"),
        ({"body": "("}, None, False, "the check is wrong"),
        ({"body": "broken"}, None, False, "'broken' is not in the answer"),
        ({"status": 204}, None, False, "HTTP 200, expected 204"),
        ({"samples": 0}, None, False, "samples is 0"),
        ({"method": "POST"}, None, False, "may change something"),
        ({"method": "HEAD"}, None, True, "HTTP 200"),
        ({}, "about 3", False, "not a comparison"),
    ],
)
def test_an_http_answer_is_measured_and_compared(
    context: ExecutionContext, service: Any, options: dict[str, Any], expect: str | None, ok: bool, expected: str
) -> None:
    found = ask(context, "http", expect, url=service.url, **options)
    assert found.ok is ok and expected in found.evidence


def test_a_broken_service_is_not_ok(context: ExecutionContext, service: Any) -> None:
    service.status = 503
    assert ask(context, "http", url=service.url).evidence == "HTTP 503"
    service.status, service.headers = 302, {"location": "http://elsewhere.test/"}
    found = ask(context, "http", url=service.url)
    assert not found.ok and "elsewhere.test" in found.evidence and len(service.asked) == 2


@pytest.mark.parametrize(
    ("kind", "options", "expect", "verdict"),
    [
        ("http", {}, "< 60", "healthy"),
        ("http", {}, "< 0", "unhealthy"),
        ("http", {"status": 204}, None, "unhealthy"),
        ("http", {"body": "broken"}, None, "unhealthy"),
        ("http", {"url": "http://127.0.0.1:9/"}, None, "unhealthy"),
        ("tcp", {"host": "127.0.0.1", "port": 9}, None, "unhealthy"),
        ("http", {"measure": "beauty"}, None, "cannot_tell"),
        ("http", {"body": "("}, None, "cannot_tell"),
        ("http", {"url": "ftp://x"}, None, "cannot_tell"),
        ("prometheus", {"query": "up", "url": "http://127.0.0.1:9/"}, "> 0", "cannot_tell"),
        ("file-age", {"path": "gone"}, "< 1h", "cannot_tell"),
        ("command", {"argv": ["rm", "-rf", "/"]}, None, "cannot_tell"),
    ],
)
def test_a_verdict_is_about_the_target_and_never_guessed(
    context: ExecutionContext, service: Any, kind: str, options: dict[str, Any], expect: str | None, verdict: str
) -> None:
    url = {"url": service.url} if kind == "http" else {}
    found = ask(context, kind, expect, **url | options)
    assert (found.verdict, "verdict" in found.as_json()) == (verdict, False), found


def test_a_service_that_hangs_is_not_waited_for(context: ExecutionContext, service: Any) -> None:
    service.delay_s = 3
    before = time.monotonic()
    found = ask(context, "http", url=service.url, timeout_s=0.3)
    assert not found.ok and found.evidence == "no answer within 0.3 s" and time.monotonic() - before < 2


def test_an_endless_answer_is_not_read_to_its_end(context: ExecutionContext, service: Any) -> None:
    service.endless = True
    assert ask(context, "http", url=service.url).ok


def test_a_check_without_a_target_always_fails(context: ExecutionContext) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for kind, options in [
        ("http", {"url": f"http://127.0.0.1:{port}"}),
        ("http", {"url": "http://no.such.host.invalid/"}),
        ("http", {"url": "ftp://127.0.0.1/"}),
        ("http", {"url": "{url}"}),
        ("http", {"url": "http://[::1"}),
        ("http", {"url": f"http://127.0.0.1:{port}", "headers": {"A": "ü\n"}}),
        ("tcp", {"host": "127.0.0.1", "port": port}),
        ("tcp", {"host": "127.0.0.1", "port": "{port}"}),
        ("tls", {"host": "127.0.0.1", "port": port}),
        ("prometheus", {"url": f"http://127.0.0.1:{port}", "query": "up"}),
        ("disk", {"path": "nothing/here"}),
        ("file-age", {"path": "nothing"}),
        ("command", {"argv": ["uptime"]}),
    ]:
        found = ask(context, kind, **options)
        assert not found.ok and found.evidence and "\n" not in found.evidence, (kind, found)


@pytest.mark.parametrize(
    "options",
    [{"headers": ["Authorization"]}, {"body": 5}, {"samples": "2"}, {"method": ["GET"]}],
)
def test_malformed_options_are_a_failed_check_not_an_exception(
    context: ExecutionContext, service: Any, options: dict[str, Any]
) -> None:
    result = ask(context, "http", url=service.url, **options)
    assert not result.ok and result.evidence and "\n" not in result.evidence


def test_a_secret_is_sent_in_a_header_and_appears_nowhere_else(context: ExecutionContext, service: Any) -> None:
    service.headers = {"location": "http://x.test/?token=hunter2hunter2"}
    service.status = 301
    found = ask(context, "http", url=service.url, headers={"Authorization": "Bearer {secret.token}"})
    assert service.asked[0][2]["Authorization"] == "Bearer hunter2hunter2"
    assert "hunter2" not in str(found.as_json()) and "[secret]" in found.evidence
    missing = ask(context, "http", url=service.url, headers={"A": "{secret.other}"})
    assert not missing.ok and "does not declare it" in missing.evidence


def test_a_prometheus_query_returns_one_number(context: ExecutionContext, service: Any) -> None:
    service.body = b'{"status": "success", "data": {"resultType": "vector", "result": [{"value": [1, "0.25"]}]}}'
    found = ask(context, "prometheus", "< 0.5", url=service.url, query="p95{a='b'}")
    assert found.ok and found.value == 0.25 and service.asked[0][1].startswith("/api/v1/query?query=p95")
    service.body = b'{"status": "success", "data": {"resultType": "scalar", "result": [1, "NaN"]}}'
    assert not ask(context, "prometheus", "< 0.5", url=service.url, query="x").ok
    for body, expected in [
        (b'{"status": "success", "data": {"resultType": "vector", "result": []}}', "returns 0 series"),
        (
            b'{"status": "success", "data": {"resultType": "vector", "result": [{"value": [1, "0"]}, {"value": [1, "9"]}]}}',
            "returns 2 series",
        ),
        (b'{"status": "error", "error": "bad query"}', "bad query"),
        (b"<html>", "not JSON"),
        (b'{"status": "success"}', "not that of an instant query"),
    ]:
        service.body = body
        assert expected in ask(context, "prometheus", url=service.url, query="x").evidence


def test_tcp_disk_file_age_and_command(context: ExecutionContext, service: Any, tmp_path: Path) -> None:
    assert ask(context, "tcp", "< 1", host="127.0.0.1", port=service.port).ok
    disk = ask(context, "disk", "<= 100%", path=".")
    assert disk.ok and disk.value is not None and 0 < disk.value <= 100
    (tmp_path / "backup").write_text("x")
    os.utime(tmp_path / "backup", (time.time() - 7200,) * 2)
    assert ask(context, "file-age", "< 3h", path="backup").ok and not ask(context, "file-age", "< 1h", path="backup").ok
    assert ask(context, "command", "> 40", argv=["echo", "load 42"]).value == 42
    assert not ask(context, "command", argv=["false"]).ok
    assert not ask(context, "command", argv=["echo", "x"], body="y").ok
    assert (
        "commands are off"
        in ask(ExecutionContext(tmp_path, None, context.vault), "command", argv=["echo", "x"]).evidence
    )


def test_a_check_does_not_start_a_command_that_writes(context: ExecutionContext, tmp_path: Path) -> None:
    rules = parse_rules("allow: [{argv: [touch, done]}]", "r")
    result = ask(ExecutionContext(tmp_path, rules, context.vault), "command", argv=["touch", "done"])
    assert not result.ok and "declares effect write" in result.evidence and not (tmp_path / "done").exists()


def test_retries_give_a_service_time_to_recover(context: ExecutionContext, service: Any) -> None:
    service.status = 500
    assert not ask(context, "http", url=service.url, retries=2).ok and len(service.asked) == 3
    service.status = 200
    assert ask(context, "http", url=service.url, retries=2).ok and len(service.asked) == 4


@pytest.mark.parametrize("text", ["", "0.5", "< ", "< x", "<> 1", "< 1 parsec", "< 1e9", "=> 1", "< ٣"])
def test_a_malformed_comparison_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a comparison"):
        parse_expectation(text)


def test_comparisons_convert_units() -> None:
    assert parse_expectation(">= 14d").number == 1_209_600
    assert parse_expectation("<500ms").holds(0.4) and not parse_expectation("!= 0").holds(float("nan"))
