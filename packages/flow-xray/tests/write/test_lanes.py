"""Lanes, Chrome events and speedscope: every call is written, and calls of a lane nest."""

import json

from flow_xray import Span, TraceResult
from flow_xray._cli.main import main
from flow_xray._write.lanes import lanes_of
from hypothesis import given
from hypothesis import strategies as st


def trace_of(*calls):
    """Build a trace from (start, duration, parent's number) triples on one thread."""
    spans = []
    for n, (start, took, parent) in enumerate(calls):
        above = None if parent is None else f"{parent + 1:016x}"
        spans.append(Span(f"{n + 1:016x}", above, f"call {n}", started_at_ns=start, duration_ns=took, thread="main"))
    return TraceResult(name="t", spans=spans)


def test_calls_inside_each_other_share_a_lane_and_overlapping_ones_do_not():
    trace = trace_of((0, 100, None), (10, 30, 0), (20, 40, 0), (70, 10, 0))
    assert [[span.name for span in lane.spans] for lane in lanes_of(trace)] == [
        ["call 0", "call 1", "call 3"],
        ["call 2"],
    ]


def test_a_call_that_outlives_its_caller_gets_a_lane():
    assert len(lanes_of(trace_of((0, 10, None), (5, 50, 0)))) == 2


calls = st.lists(
    st.tuples(st.integers(0, 50), st.none() | st.integers(0, 50), st.none() | st.integers(0, 10)), max_size=25
)


@given(calls)
def test_every_lane_is_a_stack_and_no_call_is_lost(triples):
    trace = trace_of(*triples)
    lanes = lanes_of(trace)
    assert sorted(span.id for lane in lanes for span in lane.spans) == sorted(span.id for span in trace.spans)
    for lane in lanes:
        times = [(span.started_at_ns, end) for span, end in zip(lane.spans, lane.ends, strict=True)]
        for k, (start, end) in enumerate(times):
            assert all(other >= end or until <= end for other, until in times[k + 1 :])
            assert all(other >= start for other, _ in times[k + 1 :])


@given(calls)
def test_speedscope_opens_and_closes_in_order(triples):
    whole = json.loads(trace_of(*triples).to_speedscope())
    for profile in whole["profiles"]:
        stack, at = [], 0
        for event in profile["events"]:
            assert event["at"] >= at
            at = event["at"]
            if event["type"] == "O":
                stack.append(event["frame"])
            else:
                assert stack.pop() == event["frame"]
        assert stack == []
        assert at <= profile["endValue"]


def test_chrome_events_have_time_kind_values_and_errors(make_span):
    root = make_span("root", kind="agent", at_s=0, duration_ns=None, status="interrupted", thread="MainThread")
    tool = make_span("tool", parent=root, kind="tool", at_s=1, status="error", input={"a": 1}, meta={"attempt": 2},
                     error={"type": "E", "message": "m", "traceback": ""}, thread="MainThread")  # fmt: skip
    events = json.loads(TraceResult(name="t", spans=[root, tool]).to_chrome())["traceEvents"]
    assert [event["args"]["name"] for event in events if event["ph"] == "M"] == ["t", "MainThread"]
    first, second = (event for event in events if event["ph"] == "X")
    assert (first["name"], first["ts"], first["dur"]) == ("root", 0, 2_000_000)
    assert (second["cat"], second["ts"], second["dur"], second["tid"]) == ("tool", 1_000_000, 1_000_000, first["tid"])
    assert second["args"]["error"]["message"] == "m"
    assert second["args"]["attempt"] == 2


def test_secrets_are_masked_in_exports_too(make_span):
    trace = TraceResult(spans=[make_span(input={"api_key": "canary-77"})])
    assert "canary-77" not in trace.to_chrome()
    assert "canary-77" not in trace.to_speedscope()


def test_view_writes_the_exports(tmp_path, make_span):
    TraceResult(spans=[make_span()]).to_json(tmp_path / "t.json")
    names = {"--chrome": "c.json", "--speedscope": "s.json"}
    more = [part for option, name in names.items() for part in (option, str(tmp_path / name))]
    assert main(["view", str(tmp_path / "t.json"), *more]) == 0
    assert json.loads((tmp_path / "c.json").read_text())["traceEvents"]
    assert json.loads((tmp_path / "s.json").read_text())["profiles"]
