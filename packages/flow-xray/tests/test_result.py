"""A trace: constructed, written, read back."""

import json
import os
import stat
import threading

import pytest
from flow_xray import Span, TraceFormatError, TraceOutputError, TraceResult


def test_a_constructed_trace_is_frozen_and_redacted_when_it_is_written(make_span, tmp_path):
    span = make_span(
        input={"api_key": "plain-secret-1", "when": {1, 1}},
        error={"type": "E", "message": "plain-secret-1", "traceback": ""},
    )
    result = TraceResult(name="hand", spans=[span], value=object, meta={"note": "password=plain-secret-2"})
    text = result.to_json(tmp_path / "t.json")
    page = result.to_html(tmp_path / "t.html")
    assert (tmp_path / "t.json").read_text() == text
    assert (tmp_path / "t.html").read_text() == page
    assert "plain-secret" not in text
    assert span.input["api_key"] == "plain-secret-1"  # the caller's data is unchanged


def test_json_is_restored_unchanged(make_span):
    root = make_span("root", kind="agent", duration_ns=None, status="open")
    message = {"role": "user", "content": "hi " * 200}
    child = make_span(
        "child",
        parent=root,
        input={"messages": [message, message]},
        output={"$ref": 1},
        error={"type": "E", "message": "m", "traceback": "t"},
        meta={"model": "m", "input_tokens": 3},
        tags=[{"name": "t", "at_ns": 1}],
        status="error",
        thread="T-1",
    )
    before = TraceResult(name="x", spans=[root, child], value=[1], meta={"run_id": "r"}).frozen()
    after = TraceResult.from_json(before.to_json())
    assert after == before
    assert TraceResult.from_json(after.to_json().encode()) == before


def test_the_worst_status_of_the_roots_is_the_status(make_span):
    spans = [make_span(status=status) for status in ("ok", "error")]
    assert TraceResult(spans=spans).status == "error"
    spans.append(make_span(parent=spans[0], status="interrupted"))
    assert TraceResult(spans=spans).status == "error"
    assert TraceResult().status == "ok"
    assert TraceResult().error is None


def test_a_span_of_an_unknown_parent_is_a_root(make_span):
    span = Span("b" * 16, "c" * 16, "lost")
    assert TraceResult(spans=[span]).roots == [span]


def test_find_returns_the_spans_of_a_name(make_span):
    spans = [make_span("a"), make_span("b"), make_span("a")]
    assert list(TraceResult(spans=spans).find("a")) == [spans[0], spans[2]]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is not JSON"),
        ("{", "it is not JSON"),
        ("[]", "JSON of another kind"),
        ("{}", "JSON of another kind"),
        ('{"format": "flow-xray/2"}', "it is 'flow-xray/2' and this flow-xray reads 'flow-xray/1'"),
        ('{"format": "flow-xray/1"}', "it is damaged"),
        ('{"format": "flow-xray/1", "spans": [{}]}', "it is damaged"),
        ('{"format": "flow-xray/1", "spans": 7}', "it is damaged"),
        ('{"format": "flow-xray/1", "spans": [{"id": "a", "name": "n", "status": "great"}]}', "it is damaged"),
        ('{"format": "flow-xray/1", "spans": [{"id": "a", "name": "n", "input": {"$ref": 5}}]}', "it is damaged"),
        ('{"format": "flow-xray/1", "spans": [{"id": "a", "name": "n", "meta": []}]}', "it is damaged"),
        ("[" * 100_000, "it is not JSON"),
    ],
)
def test_a_bad_file_is_a_one_line_error(text, reason):
    with pytest.raises(TraceFormatError, match=reason) as caught:
        TraceResult.from_json(text)
    assert "\n" not in str(caught.value)


def test_members_of_a_later_minor_version_are_ignored(make_span):
    whole = json.loads(TraceResult(spans=[make_span()]).to_json())
    whole["spans"][0]["colour"] = "blue"
    whole["more"] = 1
    assert TraceResult.from_json(json.dumps(whole)).spans[0].name == "call"


@pytest.mark.parametrize("name", [".", "missing/t.html"])
def test_an_unwritable_path_is_an_error_and_leaves_no_file(tmp_path, name):
    with pytest.raises(TraceOutputError, match="cannot write"):
        TraceResult().to_html(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_completely_or_not_at_all(tmp_path, make_span):
    path = tmp_path / "t.json"
    TraceResult(name="first").to_json(path)
    TraceResult(name="second", spans=[make_span()]).to_json(path)
    assert TraceResult.from_json(path.read_text()).name == "second"
    assert [each.name for each in tmp_path.iterdir()] == ["t.json"]


def test_a_hundred_thousand_levels_are_written(make_span):
    spans = [
        Span(f"{n + 1:016x}", f"{n:016x}" if n else None, "level", started_at_ns=n, duration_ns=1)
        for n in range(100_000)
    ]
    assert len(TraceResult.from_json(TraceResult(spans=spans, is_frozen=True).to_json()).spans) == 100_000


def test_a_device_is_written_to_and_never_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    got = []
    reader.start()
    TraceResult(name="t").to_json(pipe)
    reader.join(10)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert TraceResult.from_json(got[0]).name == "t"


def test_a_link_stays_a_link_and_its_file_is_written(tmp_path):
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    TraceResult(name="t").to_json(tmp_path / "link.json")
    assert (tmp_path / "link.json").is_symlink()
    assert TraceResult.from_json((tmp_path / "real.json").read_text()).name == "t"
