"""OTLP/JSON: writing it for other tools, and reading their files."""

import base64
import json

import pytest
from flow_xray import TraceFormatError, TraceResult, trace
from flow_xray._cli.main import main
from flow_xray._otel import names
from flow_xray._result import read_trace_files

START = 1_795_233_600_000_000_000


def attribute(key, value):
    kind = {bool: "boolValue", int: "intValue", float: "doubleValue", str: "stringValue"}[type(value)]
    return {"key": key, "value": {kind: str(value) if kind == "intValue" else value}}


def otel_span(number, name, parent=None, *, at_s=0, took_s=1, events=(), **attributes):
    return {
        "traceId": "ab" * 16,
        "spanId": f"{number:016x}",
        "parentSpanId": "" if parent is None else f"{parent:016x}",
        "name": name,
        "kind": 1,
        "startTimeUnixNano": str(START + int(at_s * 1e9)),
        "endTimeUnixNano": str(START + int((at_s + took_s) * 1e9)),
        "attributes": [attribute(key.replace("__", "."), value) for key, value in attributes.items()],
        "events": [
            {"name": event, "timeUnixNano": str(START), "attributes": [attribute(*pair) for pair in values.items()]}
            for event, values in events
        ],
        "status": {},
    }


def request(*spans):
    resource = {"attributes": [attribute("service.name", "shop")]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "s"}, "spans": list(spans)}]}]}


@pytest.fixture
def read(tmp_path):
    def read_requests(*requests, name="t.json"):
        path = tmp_path / name
        path.write_text("\n".join(json.dumps(each) for each in requests))
        return read_trace_files([str(path)])

    return read_requests


# ---------------------------------------------------------------------- out


@pytest.fixture
def recorded():
    @trace(kind="tool")
    def search(query):
        if query == "bad":
            raise ValueError("no such page")
        return ["page"]

    with trace.capture(name="demo") as session:
        trace.meta(run_id="r-1")
        with trace.span("agent", kind="agent", input={"question": "x"}) as agent:
            messages = [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "Find x"}]},
                {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "function": {"name": "search", "arguments": '{"query": "x"}'}}]},
                {"role": "tool", "tool_call_id": "c1", "content": "page"},
            ]  # fmt: skip
            with trace.span("chat", kind="llm", input={"messages": messages, "temperature": 0}) as span:
                trace.meta(
                    model="m-1",
                    input_tokens=100,
                    output_tokens=5,
                    cache_read_tokens=40,
                    cost_usd=0.25,
                    provider="openai",
                )
                trace.tag("retry", attempt=2)
                span.set_output({"role": "assistant", "content": "It is x."})
            search("x")
            with pytest.raises(ValueError):
                search("bad")
            agent.set_output("x")
        session.value = {"answer": "x"}
        session.open_span(None, "left open", "wait", None)
    return session.result()


def span_named(whole, name):
    [span] = [each for each in whole["resourceSpans"][0]["scopeSpans"][0]["spans"] if each["name"] == name][:1]
    return span, {each["key"]: next(iter(each["value"].values())) for each in span["attributes"]}


def test_a_model_call_has_the_current_names_and_its_messages_as_one_text(recorded):
    span, attributes = span_named(json.loads(recorded.to_otlp()), "chat")
    assert attributes[names.OPERATION] == "chat"
    assert attributes["gen_ai.request.model"] == attributes["gen_ai.response.model"] == "m-1"
    assert attributes["gen_ai.provider.name"] == "openai"
    assert attributes["gen_ai.usage.input_tokens"] == "100"
    assert attributes["gen_ai.usage.cache_read.input_tokens"] == "40"
    assert attributes["flow_xray.cost_usd"] == attributes["llm.cost.total"] == 0.25
    assert json.loads(attributes["gen_ai.input.messages"]) == [
        {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
        {"role": "user", "parts": [{"type": "text", "content": "Find x"}]},
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "id": "c1", "name": "search", "arguments": {"query": "x"}}],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "page"}]},
    ]
    assert json.loads(attributes["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "It is x."}]}
    ]
    assert json.loads(attributes["input.value"]) == {"temperature": 0}
    assert span["events"][0]["name"] == "retry"
    assert len(span["attributes"]) < 30


def test_only_current_names_are_written(recorded):
    written = {
        each["key"]
        for span in json.loads(recorded.to_otlp())["resourceSpans"][0]["scopeSpans"][0]["spans"]
        for each in span["attributes"]
    }
    old = {name for keys in (*names.COUNTS.values(), *names.FACTS.values()) for name in keys[1:]}
    assert not written & old
    assert "gen_ai.system" not in written


def test_a_written_file_can_be_read_again(recorded, tmp_path):
    path = tmp_path / "t.json"
    recorded.to_otlp(path)
    again = read_trace_files([str(path)])
    assert (again.name, again.trace_id, again.value, again.meta["run_id"]) == (
        "demo",
        recorded.trace_id,
        {"answer": "x"},
        "r-1",
    )
    assert len(again.spans) == len(recorded.spans)
    for before, after in zip(recorded.spans, again.spans, strict=True):
        for member in ("id", "parent_id", "name", "kind", "started_at_ns", "duration_ns", "status", "thread", "error", "tags"):  # fmt: skip
            assert getattr(after, member) == getattr(before, member), (before.name, member)
        assert after.meta == before.meta
        if before.kind != "llm":
            assert (after.input, after.output) == (before.input, before.output)


def test_ids_that_opentelemetry_does_not_know_are_hashed_and_the_tree_stays(tmp_path, make_span):
    root = make_span()
    root.id = "run/1"
    child = make_span(parent=root)
    TraceResult(spans=[root, child], trace_id="mine").to_otlp(tmp_path / "t.json")
    again = read_trace_files([str(tmp_path / "t.json")])
    assert again.spans[1].parent_id == again.spans[0].id
    assert len(again.trace_id) == 32


def test_a_depth_and_values_of_every_kind_can_be_written(make_span, tmp_path):
    span = make_span(
        input={"n": 2**70, "text": "\ud800</script>", "x": 1.5},
        meta={"big": 2**70, "flag": True, "list": ["a"], "model": 7},
    )
    text = TraceResult(spans=[span]).to_otlp(tmp_path / "t.json")
    assert text.isascii()
    assert read_trace_files([str(tmp_path / "t.json")]).spans[0].meta["model"] == 7


# ---------------------------------------------------------------------- in


def test_an_openinference_trace_has_messages_tools_tokens_and_cost(read):
    result = read(
        request(
            otel_span(1, "agent", at_s=0, took_s=9, openinference__span__kind="AGENT", input__value="Where is my order?"),
            otel_span(
                2, "ChatOpenAI", 1, at_s=1, openinference__span__kind="LLM",
                **{
                    "llm.model_name": "gpt-4o",
                    "llm.provider": "openai",
                    "llm.input_messages.0.message.role": "system",
                    "llm.input_messages.0.message.content": "Be kind.",
                    "llm.input_messages.1.message.role": "user",
                    "llm.input_messages.1.message.contents.0.message_content.type": "text",
                    "llm.input_messages.1.message.contents.0.message_content.text": "Where is my order?",
                    "llm.output_messages.0.message.role": "assistant",
                    "llm.output_messages.0.message.tool_calls.0.tool_call.id": "c1",
                    "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "track",
                    "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": '{"order": 7}',
                    "llm.token_count.prompt": 1000,
                    "llm.token_count.completion": 50,
                    "llm.token_count.prompt_details.cache_read": 400,
                    "llm.cost.total": 0.0125,
                    "llm.tools.0.tool.json_schema": '{"name": "track"}',
                    "input.value": "{}", "input.mime_type": "application/json",
                    "metadata": '{"tier": "gold"}',
                },
            ),
            otel_span(3, "track", 1, at_s=3, openinference__span__kind="TOOL", tool__name="track", input__value='{"order": 7}', output__value="on its way"),
            otel_span(4, "search", 1, at_s=4, openinference__span__kind="RETRIEVER", **{"retrieval.documents.0.document.content": "a page", "retrieval.documents.0.document.score": 0.5}),
        )
    )  # fmt: skip
    agent, chat, tool, search = result.spans
    assert [span.kind for span in result.spans] == ["agent", "llm", "tool", "retrieval"]
    assert agent.input == "Where is my order?"
    assert chat.input == {
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": [{"type": "text", "text": "Where is my order?"}]},
        ]
    }
    assert chat.output == {
        "role": "assistant",
        "tool_calls": [{"id": "c1", "name": "track", "arguments": {"order": 7}}],
    }
    assert {key: chat.meta[key] for key in ("model", "input_tokens", "output_tokens", "cache_read_tokens", "cost_usd")} == {
        "model": "gpt-4o", "input_tokens": 1000, "output_tokens": 50, "cache_read_tokens": 400, "cost_usd": 0.0125,
    }  # fmt: skip
    assert chat.meta["tools"] == [{"name": "track"}]
    assert chat.meta["attributes"] == {"metadata": {"tier": "gold"}}
    assert (tool.input, tool.output, tool.name) == ({"order": 7}, "on its way", "track")
    assert search.output == [{"content": "a page", "score": 0.5}]
    assert (result.name, result.meta["resource"]) == ("agent", {"service.name": "shop"})


def test_a_traceloop_trace_has_messages_and_tokens(read):
    [span] = read(
        request(
            otel_span(
                1, "openai.chat",
                **{
                    "llm.request.type": "chat", "gen_ai.system": "openai", "gen_ai.request.model": "gpt-4o",
                    "gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "hi", "gen_ai.prompt.10.role": "user", "gen_ai.prompt.10.content": "later",
                    "gen_ai.prompt.2.role": "tool", "gen_ai.prompt.2.content": '[{"type": "text", "text": "in between"}]',
                    "gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": "hello", "gen_ai.completion.0.finish_reason": "stop",
                    "gen_ai.usage.prompt_tokens": 9, "gen_ai.usage.completion_tokens": 3, "gen_ai.usage.cache_read_input_tokens": 100,
                },
            )
        )
    ).spans  # fmt: skip
    assert span.kind == "llm"
    assert [message["content"] for message in span.input["messages"]] == [
        "hi",
        [{"type": "text", "text": "in between"}],
        "later",
    ]
    assert span.output == {"role": "assistant", "content": "hello", "finish_reason": "stop"}
    assert (span.meta["model"], span.meta["provider"]) == ("gpt-4o", "openai")
    assert (span.meta["input_tokens"], span.meta["cache_read_tokens"]) == (109, 100), (
        "more cache than input: it was beside"
    )


def test_current_genai_attributes_and_older_events_become_messages(read):
    now, then = read(
        request(
            otel_span(
                1, "chat m", gen_ai__operation__name="chat", gen_ai__response__time_to_first_chunk=0.25,
                gen_ai__system_instructions='[{"type": "text", "content": "Be brief."}]',
                gen_ai__input__messages='[{"role": "user", "parts": [{"type": "text", "content": "hi"}]}]',
                gen_ai__output__messages='[{"role": "assistant", "parts": [{"type": "text", "content": "yo"}]}]',
            ),
            otel_span(
                2, "chat m", at_s=2, gen_ai__operation__name="chat",
                events=[("gen_ai.user.message", {"content": "hi"}), ("gen_ai.choice", {"message": '{"content": "yo"}', "index": 0}), ("mark", {"n": 1})],
            ),
        )
    ).spans  # fmt: skip
    assert [message["role"] for message in now.input["messages"]] == ["system", "user"]
    assert now.output["parts"][0]["content"] == "yo"
    assert now.meta["time_to_first_item_ms"] == 250
    assert then.input == {"messages": [{"role": "user", "content": "hi"}]}
    assert then.output == {"role": "assistant", "content": "yo"}
    assert then.tags == [{"name": "mark", "at_ns": START, "n": 1}]


def test_messages_that_were_cut_off_are_shown_as_text(read):
    [span] = read(request(otel_span(1, "chat", gen_ai__operation__name="chat", input__value='{"a": [1, 2'))).spans
    assert span.input == '{"a": [1, 2'


def test_the_sum_that_an_agent_reports_is_separate(read):
    agent, _chat = read(
        request(
            otel_span(1, "run", gen_ai__operation__name="invoke_agent", gen_ai__usage__input_tokens=10),
            otel_span(2, "chat", 1, gen_ai__operation__name="chat", gen_ai__usage__input_tokens=10),
        )
    ).spans
    assert "input_tokens" not in agent.meta
    assert agent.meta["reported_usage"] == {"input_tokens": 10}
    [alone] = read(
        request(otel_span(1, "run", gen_ai__operation__name="invoke_agent", gen_ai__usage__input_tokens=10))
    ).spans
    assert alone.meta["input_tokens"] == 10


def test_an_exception_a_status_and_a_span_without_an_end_are_written(read):
    failed = otel_span(
        1,
        "f",
        events=[("exception", {"exception.type": "KeyError", "exception.message": "x", "exception.stacktrace": "tb"})],
    )
    failed["status"] = {"code": "STATUS_CODE_ERROR"}
    timed_out = otel_span(2, "g", error__type="timeout")
    timed_out["status"] = {"code": 2, "message": "too slow"}
    handled = otel_span(3, "h", events=[("exception", {"exception.type": "KeyError"})])
    pending = otel_span(4, "i")
    del pending["endTimeUnixNano"]
    f, g, h, i = read(request(failed, timed_out, handled, pending)).spans
    assert (f.status, f.error) == ("error", {"type": "KeyError", "message": "x", "traceback": "tb"})
    assert g.error == {"type": "timeout", "message": "too slow", "traceback": ""}
    assert (h.status, h.error) == ("ok", None)
    assert (i.status, i.duration_ns) == ("interrupted", None)


def test_lines_of_requests_are_read_also_while_the_last_is_being_written(tmp_path, capsys):
    path = tmp_path / "spans.jsonl"
    lines = [json.dumps(request(otel_span(n, f"call {n}"))) for n in (1, 2, 3)]
    path.write_text("\n".join(lines) + '\n{"resourceSpans": [{"sco')
    assert main(["view", str(path)]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["spans"], facts["notes"]) == (3, ["the last line is incomplete and was left out"])


def test_unreadable_spans_are_noted_and_the_rest_is_shown(read):
    odd = otel_span(1, "a")
    odd["droppedAttributesCount"] = 5
    other = otel_span(2, "b")
    other["traceId"] = "cd" * 16
    result = read(request(odd, other, {"name": "no id"}, 7, {**otel_span(3, "c"), "startTimeUnixNano": "soon"}))
    assert [span.name for span in result.spans] == ["a", "b"]
    assert result.meta["notes"] == [
        "3 spans could not be read",
        "the SDK that recorded this dropped 5 attributes (its limit per span)",
        "2 traces are shown together",
    ]


def test_snake_case_and_base64_ids_are_read(read):
    span = {"trace_id": base64.b64encode(b"\xab" * 16).decode(), "span_id": base64.b64encode(b"\xcd" * 8).decode(), "name": "x",
            "start_time_unix_nano": START, "end_time_unix_nano": START + 5, "attributes": [{"key": "a", "value": {"array_value": {"values": [{"int_value": "1"}]}}}]}  # fmt: skip
    result = read({"resource_spans": [{"scope_spans": [{"spans": [span]}]}]})
    assert (result.trace_id, result.spans[0].id) == ("ab" * 16, "cd" * 8)
    assert result.spans[0].meta["attributes"] == {"a": [1]}


def test_secrets_in_imported_files_are_masked(read):
    result = read(request(otel_span(1, "t", gen_ai__operation__name="execute_tool", gen_ai__tool__call__arguments='{"api_key": "canary-77"}', db__password="canary-78",
                                    events=[("log", {"authorization": "canary-79"})])))  # fmt: skip
    assert "canary" not in result.to_json()


def test_several_files_of_different_kinds_make_one_trace(tmp_path, make_span):
    ours = make_span("ours")
    TraceResult(name="first", spans=[ours]).to_json(tmp_path / "a.json")
    theirs = otel_span(7, "theirs")
    theirs["parentSpanId"] = ours.id
    (tmp_path / "b.json").write_text(json.dumps(request(theirs)))
    whole = read_trace_files([str(tmp_path / "a.json"), str(tmp_path / "b.json")])
    assert (whole.name, [root.name for root in whole.roots], len(whole.spans)) == ("first", ["ours"], 2)


def test_chrome_events_of_another_program_become_a_tree(tmp_path):
    events = [
        {"ph": "M", "pid": 1, "tid": 2, "name": "thread_name", "args": {"name": "worker"}},
        {"ph": "M", "pid": 1, "name": "process_name", "args": {"name": "server"}},
        {"ph": "X", "pid": 1, "tid": 2, "name": "outer", "ts": 0, "dur": 100, "cat": "io", "args": {"path": "/x"}},
        {"ph": "B", "pid": 1, "tid": 2, "name": "inner", "ts": 10},
        {"ph": "E", "pid": 1, "tid": 2, "ts": 30},
        {"ph": "X", "pid": 1, "tid": 3, "name": "elsewhere", "ts": 20, "dur": 10},
        {"ph": "b", "pid": 1, "tid": 2, "id": 5, "name": "never ends", "ts": 40},
        {"ph": "C", "pid": 1, "name": "memory", "ts": 5, "args": {"mb": 3}},
        {"ph": "X", "name": "damaged"},
    ]
    (tmp_path / "c.json").write_text(json.dumps(events))
    result = read_trace_files([str(tmp_path / "c.json")])
    by_name = {span.name: span for span in result.spans}
    assert by_name["inner"].parent_id == by_name["outer"].id
    assert by_name["elsewhere"].parent_id is None
    assert (by_name["outer"].thread, by_name["outer"].input) == ("worker", {"path": "/x"})
    assert (by_name["never ends"].status, by_name["inner"].duration_ns) == ("interrupted", 20_000)
    assert result.name == "server"
    assert result.meta["notes"][0].startswith("2 Chrome events were left out")


def test_chrome_events_of_flow_xray_are_read_back(tmp_path, recorded):
    recorded.to_chrome(tmp_path / "c.json")
    again = read_trace_files([str(tmp_path / "c.json")])
    assert sorted((span.name, span.kind, span.status) for span in again.spans) == sorted(
        (span.name, span.kind, span.status) for span in recorded.spans
    )


@pytest.mark.parametrize("form", ["otlp", "chrome", "speedscope", "dot", "json"])
def test_export_writes_each_form_to_a_file_or_to_stdout(form, recorded, tmp_path, capsys):
    recorded.to_json(tmp_path / "t.json")
    assert main(["export", str(tmp_path / "t.json"), "--to", form]) == 0
    shown = capsys.readouterr().out
    assert main(["export", str(tmp_path / "t.json"), "--to", form, "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == ""
    assert (tmp_path / "out").read_text().rstrip("\n") == shown.rstrip("\n")
    assert shown.startswith("digraph" if form == "dot" else "{")


def test_export_reports_errors(tmp_path, capsys, recorded):
    recorded.to_json(tmp_path / "t.json")
    assert main(["export", str(tmp_path / "none"), "--to", "otlp"]) == 2
    assert main(["export", str(tmp_path / "t.json"), "--to", "otlp", "--out", str(tmp_path)]) == 1
    assert main(["export", str(tmp_path / "t.json"), "--to", "otlp", "--prices", str(tmp_path / "none")]) == 8
    assert capsys.readouterr().err.count("\n") == 3


def test_a_file_without_requests_is_refused(read):
    with pytest.raises(TraceFormatError, match="no span that can be read"):
        read({"resourceSpans": []})
