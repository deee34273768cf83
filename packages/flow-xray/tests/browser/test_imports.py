"""Traces of other tools in the page: the conversation, the tools, tokens and cost."""

import asyncio
import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from flow_xray import TraceResult, trace
from flow_xray._result import read_trace_files

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.timeout(120)]

START = 1_795_233_600_000_000_000


def openinference(number, name, parent, at_s, took_s, attributes):
    """One span as an OpenInference exporter writes it."""
    kinds = {bool: "boolValue", int: "intValue", float: "doubleValue", str: "stringValue"}
    return {
        "traceId": "ab" * 16,
        "spanId": f"{number:016x}",
        "parentSpanId": f"{parent:016x}" if parent else "",
        "name": name,
        "startTimeUnixNano": str(START + int(at_s * 1e9)),
        "endTimeUnixNano": str(START + int((at_s + took_s) * 1e9)),
        "attributes": [{"key": key, "value": {kinds[type(value)]: value}} for key, value in attributes.items()],
        "status": {},
    }


def test_an_openinference_file_reads_as_its_conversation(open_page, shoot, tmp_path):
    ask = {
        "openinference.span.kind": "LLM",
        "llm.model_name": "gpt-4o",
        "llm.input_messages.0.message.role": "system",
        "llm.input_messages.0.message.content": "You answer for a shop.",
        "llm.input_messages.1.message.role": "user",
        "llm.input_messages.1.message.content": "Where is order 7?",
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.tool_calls.0.tool_call.id": "c1",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "track_order",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": '{"order": 7}',
        "llm.token_count.prompt": 1200,
        "llm.token_count.completion": 34,
        "llm.cost.total": 0.0123,
    }
    tool = {"openinference.span.kind": "TOOL", "tool.name": "track_order", "input.value": '{"order": 7}', "output.value": "left Rome at 10:00"}  # fmt: skip
    answer = {
        **{key: value for key, value in ask.items() if "output_messages" not in key},
        "llm.input_messages.2.message.role": "assistant",
        "llm.input_messages.2.message.tool_calls.0.tool_call.id": "c1",
        "llm.input_messages.2.message.tool_calls.0.tool_call.function.name": "track_order",
        "llm.input_messages.2.message.tool_calls.0.tool_call.function.arguments": '{"order": 7}',
        "llm.input_messages.3.message.role": "tool",
        "llm.input_messages.3.message.tool_call_id": "c1",
        "llm.input_messages.3.message.content": "left Rome at 10:00",
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.content": "It left Rome this morning.",
    }
    spans = [
        openinference(1, "clerk", 0, 0, 9, {"openinference.span.kind": "AGENT", "input.value": "Where is order 7?"}),
        openinference(2, "ChatCompletion", 1, 1, 2, ask),
        openinference(3, "track_order", 1, 3, 1, tool),
        openinference(4, "ChatCompletion", 1, 5, 3, answer),
    ]
    path = tmp_path / "otlp.json"
    path.write_text(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}))
    page = open_page(read_trace_files([str(path)]), view="Transcript")
    page.get_by_text("It left Rome this morning.").first.wait_for()
    text = page.locator("#app").inner_text()
    for words in ("You answer for a shop.", "Where is order 7?", "track_order", "left Rome at 10:00"):
        assert words in text
    assert text.count("You answer for a shop.") == 1, "the history of the second call is not shown again"
    assert text.count("left Rome at 10:00") == 1, "the result is shown where the tool ran, and not again"
    shoot(page, "import-openinference")
    page.get_by_role("tab", name="Overview").click()
    page.get_by_text("gpt-4o").first.wait_for()
    overview = page.locator("#app").inner_text()
    assert re.search(r"2,4\d\d|2\.4 ?k|2\.5 ?k", overview), overview
    assert "0.02" in overview


def test_an_instrumented_pydantic_ai_agent_reads_as_its_conversation(open_page, shoot):
    pydantic_ai, sdk = pytest.importorskip("pydantic_ai"), pytest.importorskip("opentelemetry.sdk.trace")
    from flow_xray.otel import XraySpanProcessor
    from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
    from pydantic_ai.models.function import FunctionModel
    from pydantic_ai.models.instrumented import InstrumentationSettings

    def answer(messages, info):
        if len(messages) == 1:
            return ModelResponse([ToolCallPart("track_order", {"order": 7}, tool_call_id="c1")])
        return ModelResponse([TextPart("It left Rome this morning.")])

    with trace.capture(name="shop") as session:
        provider = sdk.TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(XraySpanProcessor())
        agent = pydantic_ai.Agent(
            FunctionModel(answer, model_name="gpt-4o"), name="clerk", system_prompt="You answer for a shop."
        )
        agent.instrument = InstrumentationSettings(tracer_provider=provider)
        agent.tool_plain(track_order)
        with ThreadPoolExecutor(1) as pool:  # playwright keeps an event loop in this thread
            pool.submit(lambda: asyncio.run(agent.run("Where is order 7?"))).result()
        provider.shutdown()
    page = open_page(session.result(), view="Transcript")
    page.get_by_text("It left Rome this morning.").first.wait_for()
    text = page.locator("#app").inner_text()
    for words in ("You answer for a shop.", "Where is order 7?", "track_order", "left Rome at 10:00"):
        assert words in text
    shoot(page, "import-pydantic-ai")
    page.get_by_role("tab", name="Overview").click()
    page.get_by_text("gpt-4o").first.wait_for()
    assert "$" in page.locator("#app").inner_text()


def track_order(order: int) -> str:
    return "left Rome at 10:00"


def test_a_trace_whose_references_expand_is_shown_with_the_value_marked(open_page):
    pool = ["laugh " * 10, *([{"$ref": n}] * 10 for n in range(12))]
    span = {"id": "01", "name": "bomb", "kind": "step", "started_at_ns": 1, "duration_ns": 1, "input": {"$ref": 12}}
    page = open_page(TraceResult.from_json(json.dumps({"format": "flow-xray/1", "pool": pool, "spans": [span]})))
    page.get_by_text("bomb").first.click()
    page.wait_for_selector("text=its references expand to more than 4 MB")
