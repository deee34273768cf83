"""OpenTelemetry spans in a session: one tree with traced calls, redacted, on disk at once."""

import asyncio
import json
import threading

import pytest
from flow_xray import TraceOutputError, read_journal, trace

sdk = pytest.importorskip("opentelemetry.sdk.trace")
from flow_xray.otel import XraySpanProcessor  # noqa: E402  after the check that the library is there


@pytest.fixture
def tracer_of():
    providers = []

    def make(processor):
        provider = sdk.TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(processor)
        providers.append(provider)
        return provider.get_tracer("test")

    yield make
    for provider in providers:
        provider.shutdown()


@trace(kind="tool")
def ours(n=1):
    return n


def tree(result):
    names = {span.id: span.name for span in result.spans}
    return {span.name: names.get(span.parent_id) for span in result.spans}


def test_spans_of_both_kinds_make_one_tree(tracer_of):
    tracer = tracer_of(XraySpanProcessor())
    with trace.capture() as session, trace.span("outer"):
        with tracer.start_as_current_span("agent"):
            with tracer.start_as_current_span("chat"):
                ours()
            with trace.span("middle"), tracer.start_as_current_span("inner"):
                pass
        ours(2)
    result = session.result()
    assert tree(result) == {
        "outer": None,
        "agent": "outer",
        "chat": "agent",
        "ours": "outer",
        "middle": "agent",
        "inner": "middle",
    }
    assert [span.parent_id for span in result.spans if span.name == "ours"] == [result.spans[2].id, result.spans[0].id]
    assert {span.status for span in result.spans} == {"ok"}


def test_nothing_is_recorded_outside_a_session(tracer_of):
    processor = XraySpanProcessor()
    tracer = tracer_of(processor)
    with tracer.start_as_current_span("before"):
        pass
    with pytest.raises(LookupError, match="this processor has no session"):
        processor.result()


def test_a_given_session_records_the_spans_of_other_threads(tracer_of):
    with trace.capture(name="late") as session:
        tracer = tracer_of(XraySpanProcessor(session))
        ready = threading.Thread(target=lambda: tracer.start_span("elsewhere").end(), name="worker")
        ready.start()
        ready.join()
    assert [(span.name, span.thread) for span in session.spans] == [("elsewhere", "worker")]


def test_a_separate_journal_has_open_spans_at_once_and_everything_at_the_end(tracer_of, tmp_path):
    path = tmp_path / "run.xray"
    processor = XraySpanProcessor(journal=path, name="otel")
    tracer = tracer_of(processor)
    with tracer.start_as_current_span("chat m", attributes={"gen_ai.operation.name": "chat"}) as span:
        [seen] = read_journal(path).spans
        assert (seen.name, seen.kind, seen.status) == ("chat m", "llm", "interrupted")
        span.set_attribute(
            "gen_ai.input.messages", json.dumps([{"role": "user", "parts": [{"type": "text", "content": "hi"}]}])
        )
        span.set_attribute("gen_ai.output.messages", json.dumps([{"role": "assistant", "parts": []}]))
        span.set_attribute("gen_ai.usage.input_tokens", 12)
        span.add_event("first token", {"n": 1})
        span.update_name("chat gpt")
    processor.shutdown()
    result = read_journal(path)
    assert result.spans == processor.result().spans
    [span] = result.spans
    assert (span.name, span.kind, span.meta["input_tokens"]) == ("chat gpt", "llm", 12)
    assert span.input["messages"][0]["role"] == "user"
    assert span.tags[0]["name"] == "first token"
    assert result.meta["journal"]["is_complete"] is True


def test_an_exception_is_the_error_of_the_span(tracer_of):
    with trace.capture() as session:
        tracer = tracer_of(XraySpanProcessor())
        with pytest.raises(ValueError), tracer.start_as_current_span("fails"):
            raise ValueError("no")
    [span] = session.spans
    assert (span.status, span.error["type"], span.error["message"]) == ("error", "ValueError", "no")
    assert "Traceback" in span.error["traceback"]


def test_secrets_are_masked_before_anything_is_written(tracer_of, tmp_path):
    path = tmp_path / "run.xray"
    processor = XraySpanProcessor(journal=path, redact="badge")
    tracer = tracer_of(processor)
    with (
        pytest.raises(RuntimeError),
        tracer.start_as_current_span(
            "call", attributes={"api_key": "canary-1-secret", "badge": "canary-2-secret"}
        ) as span,
    ):
        span.set_attribute("gen_ai.tool.call.arguments", '{"password": "canary-3-secret"}')
        span.add_event("sent", {"authorization": "canary-4-secret"})
        raise RuntimeError("password=canary-5-secret")
    assert "canary" not in path.read_text()
    assert "canary" not in processor.result().to_json()


def test_the_sum_of_an_agent_is_reported_separately(tracer_of):
    with trace.capture() as session:
        tracer = tracer_of(XraySpanProcessor())
        with tracer.start_as_current_span(
            "agent", attributes={"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 5}
        ):
            with tracer.start_as_current_span(
                "chat", attributes={"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 5}
            ):
                pass
    agent, chat = session.spans
    assert (agent.meta["reported_usage"], "input_tokens" in agent.meta) == ({"input_tokens": 5}, False)
    assert chat.meta["input_tokens"] == 5


def test_attributes_that_the_sdk_dropped_are_counted(tracer_of):
    with trace.capture() as session:
        tracer = tracer_of(XraySpanProcessor())
        with tracer.start_as_current_span("many") as span:
            for n in range(130):
                span.set_attribute(f"a{n}", n)
    assert session.spans[0].meta["dropped_attributes"] == 2


def test_an_error_in_the_recorder_is_one_warning_and_the_program_continues(tracer_of, monkeypatch):
    def broken(*_args, **_more):
        raise RuntimeError("defect")

    with trace.capture() as session:
        tracer = tracer_of(XraySpanProcessor())
        monkeypatch.setattr("flow_xray.otel.fill", broken)
        with pytest.warns(RuntimeWarning, match="cannot record an OpenTelemetry span: RuntimeError: defect") as caught:
            for _ in range(3):
                with tracer.start_as_current_span("a"):
                    pass
    assert len(caught) == 1


def test_old_ended_spans_are_dropped(tracer_of, monkeypatch):
    monkeypatch.setattr("flow_xray.otel._MAX_ENDED", 10)
    processor = XraySpanProcessor()
    tracer = tracer_of(processor)
    with trace.capture() as session, tracer.start_as_current_span("root"):
        for _ in range(100):
            with tracer.start_as_current_span("a"):
                pass
    assert len(processor._entries) <= 21
    assert len(session.spans) == 101
    assert {span.parent_id for span in session.spans[1:]} == {session.spans[0].id}


def test_an_unopenable_journal_is_an_error_at_once(tmp_path):
    with pytest.raises(TraceOutputError, match="cannot write the journal"):
        XraySpanProcessor(journal=tmp_path / "none" / "run.xray")
    with trace.capture() as session, pytest.raises(TypeError, match="Give one of them"):
        XraySpanProcessor(session, journal=tmp_path / "run.xray")


def test_without_the_sdk_the_import_error_names_the_extra():
    import subprocess
    import sys

    code = "import sys; sys.modules['opentelemetry.sdk.trace'] = None\nimport flow_xray.otel"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "Install flow-xray[otel]" in done.stderr.splitlines()[-1]


def test_an_instrumented_pydantic_ai_agent_is_a_transcript(tracer_of):
    pydantic_ai = pytest.importorskip("pydantic_ai")
    from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
    from pydantic_ai.models.function import FunctionModel
    from pydantic_ai.models.instrumented import InstrumentationSettings

    def answer(messages, info):
        if len(messages) == 1:
            return ModelResponse([ToolCallPart("track", {"order": 7, "api_key": "canary-key-1"}, tool_call_id="c1")])
        return ModelResponse([TextPart("It is on its way.")])

    with trace.capture(name="shop") as session:
        provider = sdk.TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(XraySpanProcessor())
        agent = pydantic_ai.Agent(FunctionModel(answer), name="clerk", system_prompt="Be kind.")
        agent.instrument = InstrumentationSettings(tracer_provider=provider)

        @agent.tool_plain
        @trace(name="lookup")
        def track(order: int, api_key: str) -> str:
            return f"order {order} left Rome"

        assert asyncio.run(agent.run("Where is order 7?")).output == "It is on its way."
        provider.shutdown()
    result = session.result()
    by_kind = {}
    for span in result.spans:
        by_kind.setdefault(span.kind, []).append(span)
    first, second = by_kind["llm"]
    [run] = by_kind["agent"]
    [tool] = by_kind["tool"]
    [lookup] = by_kind["function"]
    assert [first.parent_id, tool.parent_id] == [run.id, run.id]
    assert lookup.parent_id == tool.id
    assert second.input["messages"][-1]["parts"][0]["type"] == "tool_call_response"
    assert second.output["parts"][0]["content"] == "It is on its way."
    assert (tool.name, tool.input["order"], tool.output) == ("track", 7, "order 7 left Rome")
    assert first.meta["input_tokens"] > 0
    assert "input_tokens" not in run.meta
    assert "canary" not in result.to_json()
