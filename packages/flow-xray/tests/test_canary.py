"""Secrets put everywhere a program can put them are in no file that flow-xray writes."""

import asyncio
import base64
import gzip
import json
import re

import pytest
from flow_xray import TraceResult, read_journal, trace

CANARIES = {
    "argument": "canary-arg-77ab1",
    "nested": "canary-nest-77ab2",
    "default": "canary-dflt-77ab3",
    "output": "canary-outp-77ab4",
    "exception": "canary-exc-77ab5",
    "json text": "canary-json-77ab6",
    "url": "canary-url-77ab7",
    "message": "canary-msg-77ab8",
    "meta": "canary-meta-77ab9",
    "tag": "canary-tag-77ac1",
    "stream": "canary-strm-77ac2",
    "trace meta": "canary-tmet-77ac3",
    "span": "canary-span-77ac4",
    "own key": "canary-badge-77ac5",
    "value": "canary-val-77ac6",
    "query": "canary-qry-77ac7",
}


@trace(kind="tool")
def connect(url, options, api_key=CANARIES["default"]):
    return {"session_token": CANARIES["output"], "echo": f"used {options['auth']['password']} and {api_key}"}


@trace(kind="llm")
def ask(messages):
    trace.meta(model="m", messages=messages, client_secret=CANARIES["meta"])
    trace.tag("call", authorization=CANARIES["tag"])
    return {"role": "assistant", "content": json.dumps({"access_token": CANARIES["message"]})}


@trace
def stream():
    yield "password="
    yield CANARIES["stream"][:9]
    yield CANARIES["stream"][9:]


@trace
async def fail(token):
    await asyncio.sleep(0)
    try:
        raise KeyError(f"{{'api_key': '{CANARIES['exception']}'}}")
    except KeyError as error:
        raise RuntimeError(f"no luck with {token}") from error


def program():
    connect(
        f"https://ada:{CANARIES['url']}@db.example/x?api_key={CANARIES['query']}",
        {"auth": {"password": CANARIES["nested"]}},
    )
    ask([{"role": "user", "content": f'my body: {{"api_key": "{CANARIES["json text"]}"}}'}])
    list(stream())
    trace.tag("end", cookie=CANARIES["tag"])
    with trace.span("block", input={"passwd": CANARIES["span"]}) as span:
        span.set_output({"badge": CANARIES["own key"]})
    with pytest.raises(RuntimeError):
        asyncio.run(fail(CANARIES["argument"]))
    return {"password": CANARIES["value"]}


def everything_in(page):
    """The text of a page with all its blocks inflated."""
    blocks = re.findall(r'<script type="application/octet-stream" id="[^"]+">([^<]*)</script>', page)
    return page + "".join(gzip.decompress(base64.b64decode(block)).decode("utf-8", "replace") for block in blocks)


def test_no_secret_reaches_a_journal_a_page_or_json(tmp_path):
    path = tmp_path / "run.xray"
    with trace.capture(name="canary", journal=path, redact="badge") as session:
        trace.meta(private_key=CANARIES["trace meta"])
        session.value = session.freeze(program())
    result = session.result()
    texts = {
        "journal": path.read_text(),
        "json": result.to_json(),
        "page": everything_in(result.to_html()),
        "page of the journal": everything_in(read_journal(path).to_html()),
    }
    assert len(result.spans) >= 5
    for place, text in texts.items():
        for name, canary in CANARIES.items():
            assert canary not in text, f"the {name} canary is in the {place}"
            assert canary[7:] not in text, f"a part of the {name} canary is in the {place}"
    assert "[redacted]" in texts["json"]


def test_no_secret_of_spans_made_by_hand_reaches_a_file(make_span):
    span = make_span(
        input={"api_key": CANARIES["argument"]},
        output=f"Bearer {CANARIES['output']}",
        error={
            "type": "E",
            "message": f"password={CANARIES['exception']}",
            "traceback": f"api_key='{CANARIES['exception']}'",
        },
        meta={"secret": CANARIES["meta"], "note": CANARIES["argument"]},
        tags=[{"name": "t", "token": CANARIES["tag"]}],
    )
    result = TraceResult(spans=[span], value={"password": CANARIES["value"]}, meta={"api_key": CANARIES["trace meta"]})
    for text in (result.to_json(), everything_in(result.to_html())):
        assert not [canary for canary in CANARIES.values() if canary[7:] in text]


def test_the_search_of_this_test_would_find_a_secret(make_span):
    page = TraceResult(spans=[make_span(input={"note": "canary-free-text"})]).to_html()
    assert "canary-free-text" not in page
    assert "canary-free-text" in everything_in(page)
