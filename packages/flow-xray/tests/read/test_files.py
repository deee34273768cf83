"""Any file is read as a trace, or refused with one clear error."""

import json

import pytest
from flow_xray import TraceFormatError, TraceResult
from flow_xray._result import read_trace_files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

words = st.sampled_from(
    [
        *("resourceSpans", "scopeSpans", "spans", "resource", "attributes", "key", "value", "stringValue", "intValue"),
        *("arrayValue", "kvlistValue", "values", "name", "spanId", "traceId", "startTimeUnixNano", "endTimeUnixNano"),
        *("events", "status", "code", "message", "links", "traceEvents", "ph", "ts", "dur", "args", "pid", "format"),
        *("gen_ai.input.messages", "gen_ai.prompt.0.role", "llm.input_messages.0.message.role", "exception"),
    ]
)
scalars = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5) | words
    | st.sampled_from(["X", "B", "E", "M", "b", "e", "00" * 8, "ab" * 8, "flow-xray/1", "[{", '[{"role": 1}]'])
)  # fmt: skip
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=5), max_leaves=20
)


def otlp(spans):
    return {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"spans": spans}]}]}


def span(more):
    return {
        "spanId": "ab" * 8,
        "traceId": "cd" * 16,
        "name": "x",
        "startTimeUnixNano": "5",
        "endTimeUnixNano": 9,
        **more,
    }


attribute = st.fixed_dictionaries(
    {"key": words | st.text(max_size=3), "value": st.dictionaries(words, values, max_size=2) | values}
)
likely_span = st.fixed_dictionaries(
    {},
    optional={
        "attributes": st.lists(attribute, max_size=4) | values,
        "events": values,
        "status": values,
        "links": values,
    },
).map(span)
documents = (
    values | st.lists(likely_span | values, max_size=3).map(otlp) | values.map(lambda each: {"traceEvents": each})
)


@settings(
    max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
@given(documents)
def test_any_json_is_a_trace_or_refused(tmp_path, document):
    path = tmp_path / "t.json"
    path.write_text(json.dumps(document))
    try:
        result = read_trace_files([str(path)])
    except TraceFormatError as error:
        assert "\n" not in str(error)
        return
    assert result.to_json()
    assert result.to_otlp()
    assert result.to_html()


def test_a_byte_order_mark_is_ignored(tmp_path, make_span):
    TraceResult(name="t", spans=[make_span()]).to_json(tmp_path / "t.json")
    content = (tmp_path / "t.json").read_bytes()
    (tmp_path / "t.json").write_bytes(b"\xef\xbb\xbf" + content)
    assert read_trace_files([str(tmp_path / "t.json")]).name == "t"


def test_a_trace_whose_members_are_in_another_order_is_read(tmp_path, make_span):
    whole = json.loads(TraceResult(name="t" * 200, spans=[make_span()]).to_json())
    (tmp_path / "t.json").write_text(json.dumps(dict(reversed(whole.items()))))
    assert len(read_trace_files([str(tmp_path / "t.json")]).spans) == 1


@pytest.mark.parametrize("content", ['{"a": 1}\n{"b": 2}', '{"resourceSpans": []}\nnonsense\n{"resourceSpans": []}'])
def test_lines_that_are_not_requests_are_refused(tmp_path, content):
    (tmp_path / "t.jsonl").write_text(content)
    with pytest.raises(TraceFormatError):
        read_trace_files([str(tmp_path / "t.jsonl")])


@pytest.fixture
def file_of(tmp_path, make_span):
    """Return a function that writes a changed trace file of three spans and returns its path."""

    def write(change):
        spans = [make_span("first", input={"text": "long " * 200}), make_span("second"), make_span("third", input="z")]
        text = TraceResult(name="demo", spans=spans, is_frozen=True).to_json()
        path = tmp_path / "t.json"
        path.write_text(change(text))
        return str(path)

    return write


def without(text, *, status, pool=()):
    whole = json.loads(text)
    whole["spans"][1]["status"] = status
    whole["pool"] = pool if pool == 7 else list(pool)
    return json.dumps(whole)


@pytest.mark.parametrize(
    ("change", "names", "note"),
    [
        (lambda text: text[:-30], ["first", "second"], "the file is cut: the spans before the cut are shown"),
        (lambda text: text.replace('"id"', '"_id"', 1), ["second", "third"], "1 span could not be read"),
        (lambda text: without(text, status="weird"), ["first", "third"], "1 span could not be read"),
    ],
)
def test_the_intact_part_of_a_damaged_trace_file_is_shown_with_a_note_about_the_rest(file_of, change, names, note):
    path = file_of(change)
    result = read_trace_files([path], is_partial_fine=True)
    assert ([span.name for span in result.spans], result.name, result.meta["notes"]) == (names, "demo", [note])
    assert result.to_html()
    with pytest.raises(TraceFormatError):
        read_trace_files([path])


@pytest.mark.parametrize("pool", [[], [{"$ref": [1]}], 7])
def test_a_lost_pooled_value_is_marked_in_its_place(file_of, pool):
    result = read_trace_files([file_of(lambda text: without(text, status="weird", pool=pool))], is_partial_fine=True)
    assert result.spans[0].input == {"text": "<lost: its record is damaged>"}


@pytest.mark.parametrize("cut", range(0, 200, 7))
def test_a_trace_file_cut_anywhere_is_a_trace_or_refused(file_of, cut):
    path = file_of(lambda text: text[:cut])
    with pytest.raises(TraceFormatError) as caught:
        read_trace_files([path], is_partial_fine=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [3, None, {"key": 5}, {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "x"}}])
def test_a_bad_attribute_leaves_the_span_of_another_tool(tmp_path, bad):
    good = {"key": "gen_ai.request.model", "value": {"stringValue": "m"}}
    (tmp_path / "t.json").write_text(json.dumps(otlp([span({"attributes": [bad, good]})])))
    assert [each.name for each in read_trace_files([str(tmp_path / "t.json")]).spans] == ["x"]
