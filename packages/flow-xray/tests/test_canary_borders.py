"""Secrets from other sources (OTLP, OpenTelemetry, Chrome events, requests) are never written."""

import asyncio
import base64
import gzip
import json
import re
from pathlib import Path

import pytest
from flow_xray import TraceStore, trace
from flow_xray._cli.follow import Follower
from flow_xray._cli.main import main
from flow_xray._result import read_trace_files
from flow_xray.asgi import TraceMiddleware

CANARIES = [f"canary-{n:02}-77ab{n:02}" for n in range(20)]


def attributes():
    """OpenTelemetry attributes with a secret in every kind of place."""
    c = CANARIES
    return {
        "api_key": c[0],
        "http.url": f"https://ada:{c[1]}@db.example/x?access_token={c[2]}",
        "http.request.header.authorization": f"Bearer {c[3]}",
        "gen_ai.operation.name": "chat",
        "gen_ai.input.messages": json.dumps(
            [{"role": "user", "parts": [{"type": "text", "content": f"password: {c[4]}"}]}]
        ),
        "gen_ai.output.messages": json.dumps(
            [{"role": "assistant", "parts": [{"type": "tool_call", "name": "f", "arguments": {"secret": c[5]}}]}]
        ),
        "llm.input_messages.0.message.content": f'{{"client_secret": "{c[6]}"}}',
        "metadata": json.dumps({"nested": {"refresh_token": c[7]}}),
        "input.value": f"cut off {{'password': '{c[8]}'",
    }


def everything_in(page):
    """The text of a page with all its blocks inflated."""
    blocks = re.findall(r'<script type="application/octet-stream" id="[^"]+">([^<]*)</script>', page)
    return page + "".join(gzip.decompress(base64.b64decode(block)).decode("utf-8", "replace") for block in blocks)


def leaks(*texts):
    return [canary for canary in CANARIES if any(canary in text or canary[7:] in text for text in texts)]


def everything_of(result):
    written = (result.to_json(), result.to_otlp(), result.to_dot(), result.to_chrome(), result.to_speedscope())
    return (everything_in(result.to_html()), *written)


def otlp_file(path):
    c = CANARIES
    event = {
        "name": "exception",
        "timeUnixNano": "5",
        "attributes": [
            {"key": "exception.message", "value": {"stringValue": f"no luck with password={c[9]}"}},
            {"key": "exception.stacktrace", "value": {"stringValue": f"api_key = '{c[10]}'"}},
        ],
    }
    span = {
        "traceId": "ab" * 16,
        "spanId": "cd" * 8,
        "name": f"GET /?token={c[11]}",
        "startTimeUnixNano": "1",
        "endTimeUnixNano": "9",
        "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in attributes().items()],
        "events": [
            event,
            {"name": "log", "timeUnixNano": "5", "attributes": [{"key": "cookie", "value": {"stringValue": c[12]}}]},
        ],
        "status": {"code": 2, "message": f"secret={c[13]}"},
    }
    resource = {"attributes": [{"key": "db.password", "value": {"stringValue": c[14]}}]}
    path.write_text(json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}))
    return str(path)


def test_the_file_of_this_test_holds_the_secrets(tmp_path):
    assert len(leaks(Path(otlp_file(tmp_path / "t.json")).read_text())) == 15


def test_an_otlp_file(tmp_path, capsys):
    path = otlp_file(tmp_path / "t.json")
    assert leaks(*everything_of(read_trace_files([path]))) == []
    for command in (
        ["view", path, "--html", str(tmp_path / "p.html")],
        *(["export", path, "--to", to] for to in ("otlp", "dot", "json")),
    ):
        assert main(command) == 0
        assert leaks(*capsys.readouterr()) == []
    assert leaks(everything_in((tmp_path / "p.html").read_text())) == []
    assert leaks(everything_in(Follower([path]).page())) == []


def test_chrome_events(tmp_path):
    c = CANARIES
    event = {"ph": "X", "ts": 1, "dur": 2, "name": f"token={c[0]}", "cat": f"secret={c[1]}", "tid": f"password={c[2]}", "args": {"api_key": c[3]}}  # fmt: skip
    (tmp_path / "c.json").write_text(
        json.dumps([event, {**event, "args": {"id": "1", "status": "ok", "input": {"pwd": c[4]}}}])
    )
    assert leaks(*everything_of(read_trace_files([str(tmp_path / "c.json")]))) == []


def test_spans_of_opentelemetry(tmp_path):
    sdk = pytest.importorskip("opentelemetry.sdk.trace")
    from flow_xray.otel import XraySpanProcessor

    path = tmp_path / "run.xray"
    processor = XraySpanProcessor(journal=path)
    provider = sdk.TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("t")
    with (
        pytest.raises(RuntimeError),
        tracer.start_as_current_span(f"GET /?token={CANARIES[15]}", attributes=attributes()) as span,
    ):
        span.add_event("log", {"cookie": CANARIES[16]})
        span.update_name(f"POST /?token={CANARIES[17]}")
        raise RuntimeError(f"password={CANARIES[18]}")
    assert leaks(path.read_text(), *everything_of(processor.result())) == []
    provider.shutdown()


def test_requests_and_their_folder(tmp_path, capsys):
    c = CANARIES

    async def app(scope, receive, send):
        trace.meta(session_token=c[2])
        with trace.span("login", input={"password": c[3]}):
            pass
        await send({"type": "http.response.start", "status": 500, "headers": [(b"set-cookie", c[4].encode())]})
        await send({"type": "http.response.body", "body": c[5].encode()})

    async def send(message):
        pass

    store = TraceStore(tmp_path / "traces")
    scope = {"type": "http", "method": "GET", "path": f"/token={c[0]}/x", "query_string": f"api_key={c[1]}".encode(), "headers": [(b"authorization", c[6].encode())]}  # fmt: skip
    asyncio.run(TraceMiddleware(app, store)(scope, None, send))
    files = [path.read_text() for path in store.folder.iterdir()]
    assert len(files) == 3
    [capture] = store.captures()
    assert leaks(*files, repr(capture), json.dumps(store.report()), *everything_of(store.load(capture.id))) == []
    assert main(["view", str(store.folder), "--format", "text"]) == 0
    assert leaks(*capsys.readouterr()) == []
