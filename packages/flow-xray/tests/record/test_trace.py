"""`trace`: run, arun, capture, span, meta, tag, configure."""

import asyncio

import pytest
from flow_xray import Limits, Span, TraceResult, trace

pytestmark = pytest.mark.interpreter


@trace(kind="llm", name="answer")
def answer(question):
    trace.meta(model="m-1", input_tokens=10, output_tokens=2)
    trace.tag("cached", hit=True)
    return question.upper()


def test_run_returns_the_trace_and_the_value():
    result = trace.run(answer, "why")
    (span,) = result.spans
    assert result.value == "WHY"
    assert (span.name, span.kind, span.input, span.output) == ("answer", "llm", {"question": "why"}, "WHY")
    assert span.meta == {"model": "m-1", "input_tokens": 10, "output_tokens": 2}
    assert span.tags[0]["name"] == "cached"
    assert span.tags[0]["hit"] is True
    assert result.status == "ok"


def test_run_gives_a_plain_function_a_root_span():
    def main(n):
        return [answer(str(k)) for k in range(n)]

    result = trace.run(main, 2)
    assert [span.name.rpartition(".")[2] for span in result.spans] == ["main", "answer", "answer"]
    assert [root.name.rpartition(".")[2] for root in result.roots] == ["main"]


def test_arun_awaits():
    async def main():
        await asyncio.sleep(0)
        return answer("x")

    result = asyncio.run(trace.arun(main))
    assert result.value == "X"
    assert len(result.spans) == 2


def test_run_raises_the_exception_and_attaches_the_trace():
    def main():
        answer("x")
        raise LookupError("nothing")

    with pytest.raises(LookupError) as caught:
        trace.run(main)
    result = TraceResult.of(caught.value)
    assert result.status == "error"
    assert result.error["message"] == "nothing"
    assert [span.status for span in result.spans] == ["error", "ok"]


def test_the_trace_of_another_exception_does_not_exist():
    with pytest.raises(LookupError, match="cannot give a trace of ValueError"):
        TraceResult.of(ValueError())


def test_without_a_session_nothing_is_recorded_and_everything_works():
    assert not trace.active()
    assert answer("x") == "X"
    trace.meta(a=1)
    trace.tag("t")
    with trace.span("s", input=1) as span:
        span.set_output(2)
    assert not trace.active()


def test_span_records_a_block():
    with trace.capture(name="t") as session:
        assert trace.active()
        with trace.span("load", kind="tool", input={"path": "a"}, run_id="r1") as span:
            span.set_output([1, 2])
            answer("inside")
    outer, inner = session.result().spans
    assert (outer.name, outer.kind, outer.input, outer.output, outer.meta) == (
        "load",
        "tool",
        {"path": "a"},
        [1, 2],
        {"run_id": "r1"},
    )
    assert inner.parent_id == outer.id


def test_span_records_the_error_of_its_block():
    with trace.capture() as session, pytest.raises(ValueError), trace.span("fail"):
        raise ValueError("no")
    assert session.spans[0].status == "error"


def test_the_output_of_a_span_is_redacted():
    with trace.capture() as session, trace.span("call", input={"password": "open-sesame-77"}) as span:
        span.set_output({"echo": "open-sesame-77", "password": 123456})
    assert session.spans[0].output == {"echo": "[redacted]", "password": "[redacted]"}


def test_meta_and_tags_outside_a_span_belong_to_the_trace():
    with trace.capture() as session:
        trace.meta(run_id="r")
        trace.tag("begin")
    result = session.result()
    assert result.meta["run_id"] == "r"
    assert result.meta["tags"][0]["name"] == "begin"


def test_result_can_be_taken_before_the_end():
    with trace.capture() as session:
        with trace.span("long"):
            early = session.result()
        late = session.result()
    assert early.spans[0].status == "open"
    assert early.status == "open"
    assert late.spans[0].status == "ok"


def test_a_session_inside_a_session_records_for_both():
    with trace.capture(name="outer", redact="badge") as outer:
        with trace.span("around"):
            result = trace.run(answer, "in")
            with trace.capture() as inner:
                answer_with = trace(lambda badge: badge)
                answer_with("secret-badge")
    assert [span.name for span in result.spans] == ["answer"]
    assert result.roots == result.spans
    assert len(outer.spans) == 3
    assert {span.parent_id for span in outer.spans[1:]} == {outer.spans[0].id}
    assert inner.spans[0].input == {"badge": "[redacted]"}


def test_calls_after_the_session_are_not_recorded():
    async def main():
        ready = asyncio.Event()

        async def late():
            await ready.wait()
            return answer("late")

        with trace.capture() as session:
            task = asyncio.create_task(late())
            await asyncio.sleep(0)
        ready.set()
        assert await task == "LATE"
        return session

    assert asyncio.run(main()).spans == []


def test_configure_sets_the_defaults_of_later_sessions():
    try:
        trace.configure(redact=["badge"], max_string=10)
        result = trace.run(trace(lambda badge, text: None), "b", "x" * 30)
        assert result.spans[0].input == {"badge": "[redacted]", "text": "xxxxxxx … [20 characters cut] … xxx"}
    finally:
        trace.configure(redact=(), limits=Limits())
    assert trace.run(trace(lambda badge: None), "b").spans[0].input == {"badge": "b"}


def test_an_unknown_limit_is_refused():
    with pytest.raises(TypeError):
        trace.configure(max_everything=1)


def test_a_block_can_set_an_error_without_an_exception():
    with trace.capture() as session, trace.span("ask") as span:
        span.error = {"type": "HTTP 500", "message": "password=canary-77", "traceback": ""}
    [span] = session.spans
    assert (span.status, span.error["message"]) == ("error", "password=[redacted]")


def test_an_invalid_limit_is_an_error_and_changes_nothing():
    with pytest.raises(TypeError, match="cannot configure max_strin: because there is no such limit. Give one of max_"):
        trace.configure(max_strin=5)
    with pytest.raises(ValueError, match="cannot use -1 as max_depth"):
        trace.configure(max_depth=-1)
    with pytest.raises(TypeError, match="cannot redact by 7"):
        trace.configure(redact=[7])
    with trace.capture() as session, trace.span("a", input={"text": "x" * 1000}):
        pass
    assert session.spans[0].input == {"text": "x" * 1000}


def test_a_result_inside_a_block_has_its_output_frozen_and_redacted():
    with trace.capture() as session, trace.span("call") as span:
        span.output = {"password": "open-sesame", "thing": object()}
        span.error = {"type": "Mine", "message": "password=open-sesame-5"}
        text = session.result().to_json()
    assert "open-sesame" not in text
    assert TraceResult.from_json(text).spans[0].status == "open"


def test_an_output_is_recorded_as_it_was_when_it_was_set():
    messages = ["one"]
    with trace.capture() as session, trace.span("call") as span:
        span.set_output(messages)
        messages.append("two")
    assert session.spans[0].output == ["one"]


def test_an_output_that_was_set_is_cut_by_the_limits_of_its_session():
    long = "x" * 50_000
    with trace.capture(limits=Limits(max_string=60_000)) as session, trace.span("call") as span:
        span.set_output(long)
    assert session.spans[0].output == long


def test_a_constructed_span_takes_any_output_and_freezes_it_when_it_is_written():
    span = Span("00000000000000a1", None, "call")
    span.set_output({"password": "open-sesame", "thing": object})
    assert span.output["thing"] is object
    text = TraceResult(spans=[span]).to_json()
    assert "open-sesame" not in text
    assert "<type object>" in text
