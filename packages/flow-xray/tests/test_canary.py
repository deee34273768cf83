"""Secrets in every place of a program appear in nothing that flow-xray writes or prints."""

import asyncio
import base64
import gzip
import json
import re
from dataclasses import dataclass

import pytest
from flow_xray import TraceResult, read_journal, trace
from flow_xray._analysis.findings import analyze
from flow_xray._analysis.report import report_of
from flow_xray._analysis.stats import stats_of
from flow_xray._cli.main import main
from flow_xray._compare.golden import golden_text

pytestmark = pytest.mark.interpreter

CANARIES = {
    name: f"canary-{number:04x}-77{number:03x}b"
    for number, name in enumerate(
        """argument nested default output exception cause note group json-text json-json json-cut url user query
        message meta tag stream trace-meta span own-key value camel upper header basic pair pair-bytes har argv bytes
        dataclass pydantic repr name session-name tag-name yaml xml form kwargs prose late line rule key-of-dict
        cookie env tuple-key mapping-value percent signature dsn bearer""".split()
    )
}


@dataclass
class Login:
    user: str
    password: str


class Client:
    def __init__(self, key):
        self.key = key

    def __repr__(self):
        return f"Client(api_key={self.key!r}, url='https://h.example/?token={self.key}')"


class Settings:
    """An imitation of a pydantic model; test_freeze.py has a real one."""

    __pydantic_fields_set__ = frozenset()

    def __init__(self, key):
        self.api_key = key


@trace(kind="tool")
def connect(url, options, api_key=CANARIES["default"]):
    return {"session_token": CANARIES["output"], "echo": f"used {options['auth']['password']} and {api_key}"}


@trace(kind="llm")
def ask(messages):
    trace.meta(model="m", messages=messages, client_secret=CANARIES["meta"])
    trace.tag("call", authorization=CANARIES["tag"])
    trace.tag(f"token={CANARIES['tag-name']}")
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
        trouble = RuntimeError(f"no luck with {token}")
        trouble.add_note(f"password: {CANARIES['note']}")
        raise ExceptionGroup("several", [trouble, ValueError(f"cookie={CANARIES['group']}")]) from error


@trace
def many(*values, **named):
    return values


def spellings(c):
    """Every form of a secret other than `key: value`."""
    return [
        {"apiKey": c["camel"], "X-API-KEY": c["upper"], "Authorization": f"Basic {c['basic']}"},
        [("authorization", c["pair"]), (b"x-api-key", c["pair-bytes"].encode())],
        {"headers": [{"name": "Cookie", "value": c["har"]}]},
        ["run", "--password", c["argv"]],
        f"x-api-key: {c['header']}".encode(),
        Login("ada", c["dataclass"]),
        Client(c["repr"]),
        json.dumps({"body": json.dumps({"inner": json.dumps({"refresh_token": c["json-json"]})})}),
        "x" * 30_000 + f'{{"password": "{c["json-cut"]}"}}' + "y" * 4_990,
        f"password: |\n  {c['yaml']}\n",
        f"<password>{c['xml']}</password>",
        f"user=a&password={c['form']}&x=1",
        f"login(password='{c['kwargs']}', host='h')",
        f"the token is {c['prose']}",
        {f"api_key={c['key-of-dict']}": 1},
        f"Set-Cookie: a=b; session={c['cookie']}",
        f"export GITHUB_TOKEN={c['env']}",
        {("password",): 1, "password": (c["tuple-key"],)},
        {"secrets": {"a": {"b": c["mapping-value"]}}},
        f"next=%3Ftoken%3D{c['percent']}",
        f"https://h.example/file?sig={c['signature']}&X-Amz-Signature={c['signature']}",
        f"postgres://ada:p@{c['dsn']}@db.example/x",
        f"curl -H 'Authorization: Bearer {c['bearer']}'",
    ]


def program():
    c = CANARIES
    connect(f"https://ada:{c['url']}@db.example/x?api_key={c['query']}", {"auth": {"password": c["nested"]}})
    ask([{"role": "user", "content": f'my body: {{"api_key": "{c["json-text"]}"}}'}])
    list(stream())
    trace.tag("end", cookie=c["tag"])
    with trace.span(f"GET https://{c['user']}@h.example/?token={c['name']}", input={"passwd": c["span"]}) as span:
        span.set_output({"badge": c["own-key"]})
    with pytest.raises(ExceptionGroup):
        asyncio.run(fail(c["argument"]))
    many(*spellings(c), password=c["late"])
    many(Settings(c["pydantic"]))
    try:
        raise ValueError(f"secret_key={c['cause']}")
    except ValueError:
        with pytest.raises(KeyError):
            trace(many_raises)()
    return {"password": c["value"]}


def many_raises():
    raise KeyError("password=canary-line-77fffb")  # the source line is in the traceback


def everything_in(page):
    """The text of a page with all its blocks inflated."""
    blocks = re.findall(r'<script type="application/octet-stream" id="[^"]+">([^<]*)</script>', page)
    return page + "".join(gzip.decompress(base64.b64decode(block)).decode("utf-8", "replace") for block in blocks)


def leaks(text):
    """The names of the canaries in a text, whole or without their beginning."""
    parts = {name: (canary, canary[7:], canary[:-3]) for name, canary in CANARIES.items()}
    parts["line"] = ("canary-line-77fffb",)
    return sorted(name for name, forms in parts.items() if any(form in text for form in forms))


def outputs_of(result):
    """Every written form of a trace, by name."""
    findings = analyze(result, [lambda tree: f"password={CANARIES['rule']}"])
    stats = stats_of(result)
    other = TraceResult(name=result.name, spans=result.spans[:3], is_frozen=result.is_frozen)
    return {
        "json": result.to_json(),
        "page": everything_in(result.to_html()),
        "chrome": result.to_chrome(),
        "speedscope": result.to_speedscope(),
        "otlp": result.to_otlp(),
        "dot": result.to_dot(),
        "golden": golden_text(result),
        "findings": repr(findings),
        "stats": json.dumps(stats.as_json()),
        "report": report_of(result, stats, findings),
        "difference": other.diff(result).to_text() + result.diff(other).to_text(),
        "page of the difference": everything_in(other.diff(result).to_html()),
    }


@pytest.fixture(scope="module")
def recorded(untraced_module, tmp_path_factory):
    """The journal and the trace of the program."""
    path = tmp_path_factory.mktemp("canary") / "run.xray"
    with trace.capture(
        name=f"run of token={CANARIES['session-name']}", journal=path, redact="badge", lines=True
    ) as session:
        trace.meta(private_key=CANARIES["trace-meta"])
        session.value = session.freeze(program())
    return path, session.result()


def test_no_secret_reaches_a_journal(recorded):
    path, result = recorded
    assert len(result.spans) >= 8
    assert leaks(path.read_text()) == []
    assert "[redacted]" in path.read_text()


def test_no_secret_reaches_any_written_form_of_a_trace(recorded):
    path, result = recorded
    for source in (result, read_journal(path), TraceResult.from_json(result.to_json())):
        for place, text in outputs_of(source).items():
            assert leaks(text) == [], f"in the {place}"


def test_no_secret_is_printed(recorded, tmp_path, capsys):
    path, result = recorded
    journal, other = str(path), str(tmp_path / "other.json")
    TraceResult(name="other", spans=result.spans[:4], is_frozen=True).to_json(other)
    (tmp_path / "source.py").write_text(
        f"def ask(messages):\n    if messages == 'password={CANARIES['line']}': ask(1)\n"
    )
    for command in (
        ["view", journal, "--html", str(tmp_path / "v.html"), "--format", "text"],
        ["stats", journal],
        ["stats", journal, "--output", "json"],
        ["report", journal],
        ["analyze", journal],
        ["diff", other, journal],
        ["check", other, journal, "--html", str(tmp_path / "d.html")],
        ["context", journal, "--source", str(tmp_path), "--output", "json"],
        ["export", journal, "--to", "otlp"],
    ):
        main(command)
        out, err = capsys.readouterr()
        assert out
        assert leaks(out + err) == [], command
    assert (
        leaks(everything_in((tmp_path / "v.html").read_text()) + everything_in((tmp_path / "d.html").read_text())) == []
    )


def test_no_secret_of_constructed_spans_reaches_a_file(make_span):
    c = CANARIES
    early = make_span(
        f"call with {c['late']}", input=f"the key {c['late']} came before its name", kind=f"token={c['name']}"
    )
    span = make_span(
        f"GET https://h.example/?token={c['name']}",
        thread=f"password={c['name']}",
        input={"api_key": c["argument"], "password": c["late"]},
        output=f"Bearer {c['output']}",
        error={
            "type": "E",
            "message": f"password={c['exception']}",
            "traceback": f"api_key='{c['exception']}'",
        },
        meta={"secret": c["meta"], "note": c["argument"]},
        tags=[{"name": "t", "token": c["tag"]}],
    )
    more = [make_span("spelling", input=value) for value in spellings(c)]
    made = TraceResult(
        name=f"api_key={c['session-name']}",
        spans=[early, span, *more],
        value={"password": c["value"]},
        meta={"api_key": c["trace-meta"]},
    )
    for place, text in outputs_of(made).items():
        assert leaks(text) == [], f"in the {place}"


def test_a_foreign_file_with_secrets_gives_a_page_without_them(tmp_path, capsys):
    attributes = [
        {"key": "api_key", "value": {"stringValue": CANARIES["argument"]}},
        {
            "key": "url.full",
            "value": {"stringValue": f"https://ada:{CANARIES['url']}@h.example/?token={CANARIES['query']}"},
        },
        {"key": "input.value", "value": {"stringValue": json.dumps({"password": CANARIES["nested"]})}},
        {"key": "http.request.header.authorization", "value": {"stringValue": f"Basic {CANARIES['basic']}"}},
    ]
    span = {"traceId": "a" * 32, "spanId": "b" * 16, "name": f"token={CANARIES['name']}", "attributes": attributes,
            "startTimeUnixNano": "1", "endTimeUnixNano": "2"}  # fmt: skip
    path = tmp_path / "otlp.json"
    path.write_text(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}))
    assert main(["view", str(path), "--json", str(tmp_path / "t.json")]) == 0
    assert leaks(capsys.readouterr().out) == []
    assert leaks(everything_in((tmp_path / "otlp.html").read_text())) == []
    assert leaks((tmp_path / "t.json").read_text()) == []
    assert main(["report", str(path)]) == 0
    assert leaks(capsys.readouterr().out) == []
    two = ["view", str(path), str(tmp_path / "t.json"), "--html", str(tmp_path / "both.html")]
    assert main(two) == 0
    assert leaks(capsys.readouterr().out + everything_in((tmp_path / "both.html").read_text())) == []


def test_the_search_of_this_test_would_find_a_secret(make_span):
    page = TraceResult(spans=[make_span(input={"note": f"free text {CANARIES['argument']}"})]).to_html()
    assert leaks(page) == []
    assert leaks(everything_in(page)) == ["argument"]
