"""Requests as captures, up to the last byte, including errors of the application and the client."""

import asyncio
import shutil
import warnings

import pytest
from flow_xray import TraceStore, read_journal, trace
from flow_xray.asgi import TraceMiddleware

pytestmark = pytest.mark.interpreter


@pytest.fixture
def store(tmp_path):
    return TraceStore(tmp_path / "traces")


@trace(kind="tool")
def work(n):
    return n


def serve(app, store, *, path="/x", query=b"", messages=(), send=None, **scope):
    """Send one request through the middleware and return the response."""
    sent = []
    incoming = iter([{"type": "http.request", "body": b"", "more_body": False}, *messages])

    async def receive():
        message = next(incoming, None)
        if message is None:
            await asyncio.Event().wait()
        return message

    async def keep(message):
        if send is not None:
            send(message)
        sent.append(message)

    whole = {"type": "http", "method": "GET", "path": path, "query_string": query, "headers": [], **scope}
    asyncio.run(TraceMiddleware(app, store)(whole, receive, keep))
    return sent


async def start(send, status=200):
    await send({"type": "http.response.start", "status": status, "headers": []})


async def body(send, content=b"", more=False):
    await send({"type": "http.response.body", "body": content, "more_body": more})


def test_a_request_is_one_capture_with_its_calls(store):
    async def app(scope, receive, send):
        work(1)
        await start(send)
        await body(send, b"hello")

    sent = serve(app, store, query=b"q=1&api_key=canary-77")
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    [capture] = store.captures()
    assert (capture.name, capture.status, capture.meta) == ("GET /x", "ok", {"http_status": 200})
    request, call = store.load(capture.id).spans
    assert (request.kind, request.input) == (
        "request",
        {"method": "GET", "path": "/x", "query": "q=1&api_key=[redacted]"},
    )
    assert call.parent_id == request.id
    assert (request.meta["http_status"], request.meta["size_bytes"]) == (200, 5)
    assert request.meta["time_to_first_byte_ms"] <= request.meta["time_to_last_byte_ms"]


def test_a_capture_stays_open_until_the_last_byte_of_a_stream(store):
    seen = []

    async def app(scope, receive, send):
        await start(send)
        for n in range(3):
            await asyncio.sleep(0)
            work(n)
            seen.append(store.captures()[0].status)
            await body(send, b"part", more=True)
        await body(send)

    serve(app, store)
    assert seen == ["open", "open", "open"]
    [capture] = store.captures()
    assert (capture.status, capture.spans) == ("ok", 4)
    assert store.load(capture.id).spans[0].meta["size_bytes"] == 12


def test_an_exception_passes_through_and_is_recorded(store):
    async def app(scope, receive, send):
        work(1)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        serve(app, store)
    [capture] = store.captures()
    assert capture.status == "error"
    assert store.load(capture.id).spans[0].error["message"] == "broken"


@pytest.mark.parametrize(("status", "expected"), [(200, "ok"), (404, "ok"), (500, "error"), (503, "error")])
def test_a_status_of_500_or_more_is_an_error(store, status, expected):
    async def app(scope, receive, send):
        await start(send, status)
        await body(send)

    serve(app, store)
    assert store.captures()[0].status == expected


def test_an_application_without_a_response_is_an_error(store):
    async def app(scope, receive, send):
        return

    serve(app, store)
    assert store.load(store.captures()[0].id).spans[0].error["type"] == "no response"


def test_a_client_that_disconnects_during_a_streamed_response_is_a_tag(store):
    async def app(scope, receive, send):
        await start(send)
        await body(send, b"part", more=True)
        await receive()
        assert (await receive())["type"] == "http.disconnect"
        await receive()

    serve(app, store, messages=[{"type": "http.disconnect"}, {"type": "http.disconnect"}])
    [capture] = store.captures()
    assert capture.meta == {"http_status": 200, "client_disconnected": True}
    [tag] = store.load(capture.id).spans[0].tags
    assert (tag["name"], tag["sent_bytes"]) == ("client disconnected", 4)


def test_a_failing_send_is_a_disconnected_client(store):
    def gone(message):
        raise ConnectionResetError("gone")

    async def app(scope, receive, send):
        await start(send)

    with pytest.raises(ConnectionResetError):
        serve(app, store, send=gone)
    [capture] = store.captures()
    assert (capture.status, capture.meta["client_disconnected"]) == ("error", True)


def test_a_cancelled_request_is_recorded_as_cancelled(store):
    async def app(scope, receive, send):
        await asyncio.sleep(60)

    async def cancel():
        request = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
        task = asyncio.ensure_future(TraceMiddleware(app, store)(request, None, None))
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel())
    assert store.captures()[0].status == "cancelled"


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
def test_other_connections_are_passed_on_unchanged(store, kind):
    seen = []

    async def app(scope, receive, send):
        seen.append((scope, receive, send))

    scope, receive, send = {"type": kind}, object(), object()
    asyncio.run(TraceMiddleware(app, store)(scope, receive, send))
    assert seen[0] == (scope, receive, send)
    assert store.captures() == []


def test_a_request_that_is_skipped_is_not_recorded(store):
    async def app(scope, receive, send):
        work(1)

    middleware = TraceMiddleware(app, store, skip=lambda scope: scope["path"] == "/health")
    asyncio.run(middleware({"type": "http", "path": "/health"}, None, None))
    assert store.captures() == []


def test_concurrent_requests_have_separate_captures(store):
    async def app(scope, receive, send):
        for _ in range(3):
            work(scope["path"])
            await asyncio.sleep(0)
        await start(send)
        await body(send)

    async def all_at_once():
        async def send(message):
            pass

        scopes = [{"type": "http", "method": "GET", "path": f"/{n}"} for n in range(5)]
        await asyncio.gather(*(TraceMiddleware(app, store)(scope, None, send) for scope in scopes))

    asyncio.run(all_at_once())
    for capture in store.captures():
        result = store.load(capture.id)
        assert {span.input["n"] for span in result.spans[1:]} == {capture.name.removeprefix("GET ")}
        assert len(result.spans) == 4
    assert len(store.captures()) == 5


def test_a_removed_folder_does_not_stop_requests(store, tmp_path):
    async def app(scope, receive, send):
        await start(send)
        await body(send, b"fine")

    middleware = TraceMiddleware(app, store)
    shutil.rmtree(store.folder)
    sent = []

    async def send(message):
        sent.append(message)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            asyncio.run(middleware({"type": "http", "path": "/"}, None, send))
    assert len(sent) == 4
    assert len(caught) == 1
    assert "requests are not recorded" in str(caught[0].message)


def test_a_folder_may_be_given_instead_of_a_store(tmp_path):
    assert TraceMiddleware(None, tmp_path / "new").store.captures() == []


def test_a_starlette_application_streams_through_it(store):
    httpx, applications = pytest.importorskip("httpx"), pytest.importorskip("starlette.applications")
    from starlette.responses import StreamingResponse
    from starlette.routing import Route

    @trace
    async def parts():
        for n in range(3):
            yield f"{work(n)};"

    async def stream(request):
        return StreamingResponse(parts())

    app = applications.Starlette(routes=[Route("/stream", stream)])
    app.add_middleware(TraceMiddleware, store=store)

    async def ask():
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return (await client.get("/stream")).text

    assert asyncio.run(ask()) == "0;1;2;"
    result = store.load(store.captures()[0].id)
    request, generator, *calls = result.spans
    assert (request.status, generator.output, generator.status) == ("ok", "0;1;2;", "ok")
    assert {call.parent_id for call in calls} == {generator.id}
    assert generator.parent_id == request.id


def test_a_request_with_a_traceparent_is_a_child_of_the_clients_span(store, tmp_path):
    async def app(scope, receive, send):
        await start(send)
        await body(send)

    client = tmp_path / "client.xray"
    with trace.capture(name="client", journal=client), trace.span("ask") as ask:
        header = trace.environment()["TRACEPARENT"].encode()
    serve(app, store, headers=[(b"accept", b"*/*"), (b"traceparent", header)])
    serve(app, store, path="/y", headers=[(b"traceparent", b"nonsense")])
    [capture] = store.captures(name="GET /x")
    whole = read_journal(capture.path, client)
    assert (whole.name, [root.name for root in whole.roots]) == ("client", ["ask"])
    assert [span.parent_id for span in whole.find("GET /x")] == [ask.id]
    [other] = store.captures(name="GET /y")
    assert store.load(other.id).spans[0].parent_id is None
