"""Real models through pydantic-ai, against a fake OpenAI-compatible server on loopback."""

import asyncio
import importlib.util
import os
from typing import Any

import pytest
from loom_agents import (
    AgentState,
    Coordinator,
    ModelError,
    ToolMessage,
    Usage,
    Workspace,
    build_agent_runner,
    workspace_tools,
)
from loom_agents._models.messages import AssistantMessage, ToolCall, UserMessage
from loom_agents._models.protocol import ModelReply, ModelRequest
from loom_agents._models.provider import ProviderModel, _history
from loom_runner import RetryPolicy, SQLiteStore

HAS_PROVIDERS = importlib.util.find_spec("pydantic_ai") is not None and importlib.util.find_spec("openai") is not None
if not HAS_PROVIDERS and not os.environ.get("LOOM_REQUIRE_ALL"):
    pytest.skip("pydantic-ai is not on this machine (loom-agents[openai])", allow_module_level=True)

HELLO = ModelRequest("be kind", (UserMessage("hello"),))


def _ask(name: str, request: ModelRequest = HELLO) -> tuple[ModelReply, list[str]]:
    pieces: list[str] = []
    return asyncio.run(ProviderModel(name).request(request, on_delta=pieces.append)), pieces


@pytest.mark.parametrize("name", ["openai-chat:gpt-5-mini", "ollama:qwen3"])
def test_a_reply_streams_and_its_usage_is_counted(provider: Any, name: str) -> None:
    provider.streams({"content": "Hel"}, {"content": "lo"}, {"content": " there."})
    reply, pieces = _ask(name)
    assert (reply.text, pieces) == ("Hello there.", ["Hel", "lo", " there."])
    assert (reply.usage.input_tokens, reply.usage.cache_read_tokens, reply.usage.output_tokens) == (1000, 600, 20)
    assert (reply.finish_reason, reply.model) == ("stop", "gpt-5-mini")
    [sent] = provider.requests
    assert sent["messages"] == [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hello"}]


def test_a_known_price_is_reported_and_an_unknown_one_is_not_zero(provider: Any) -> None:
    provider.streams({"content": "a"})
    provider.streams({"content": "a"})
    known, unknown = _ask("openai-chat:gpt-5-mini")[0].usage.cost_usd, _ask("ollama:qwen3")[0].usage.cost_usd
    assert known is not None
    assert 0 < known < 0.01
    assert unknown is None


def test_tool_calls_have_their_arguments_even_if_malformed(provider: Any) -> None:
    provider.calls(("a", "grep", '{"pattern": "x"}'), ("b", "grep", '{"pattern": '))
    reply, _ = _ask("openai-chat:gpt-5-mini")
    assert reply.tool_calls == (
        ToolCall("a", "grep", {"pattern": "x"}),
        ToolCall("b", "grep", malformed='{"pattern": '),
    )
    assert reply.finish_reason == "tool_calls"


@pytest.mark.parametrize(("finish", "reason"), [("length", "length"), ("content_filter", "refused")])
def test_a_reply_that_stopped_early_has_a_reason(provider: Any, finish: str, reason: str) -> None:
    provider.streams({"content": "I was"}, finish=finish)
    assert _ask("openai-chat:gpt-5-mini")[0].finish_reason == reason


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(400, False), (401, False), (403, False), (404, False), (429, True), (500, True), (502, True), (503, True)],
)
def test_an_error_is_one_request_and_reports_whether_a_retry_helps(provider: Any, status: int, retryable: bool) -> None:
    provider.fails(status, "the server\nsays no")
    with pytest.raises(ModelError, match="the server says no") as caught:
        _ask("openai-chat:gpt-5-mini")
    assert caught.value.retryable is retryable
    assert len(provider.requests) == 1
    assert "\n" not in str(caught.value)


def test_an_exceeded_quota_is_not_retried(provider: Any) -> None:
    import json

    def play(handler: Any) -> None:
        handler.send_response(429)
        handler.send_header("content-type", "application/json")
        handler.end_headers()
        error = {
            "message": "You exceeded your current quota",
            "type": "insufficient_quota",
            "code": "insufficient_quota",
        }
        handler.wfile.write(json.dumps({"error": error}).encode())

    provider.plays.append(play)
    with pytest.raises(ModelError) as caught:
        _ask("openai-chat:gpt-5-mini")
    assert caught.value.retryable is False


@pytest.mark.parametrize("body", [b"data: {garbage\n\n", b"<html>proxy error</html>", b""])
def test_an_unreadable_reply_is_a_model_error(provider: Any, body: bytes) -> None:
    provider.says(body)
    with pytest.raises(ModelError):
        _ask("openai-chat:gpt-5-mini")


def test_an_unreachable_server_is_a_retryable_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with pytest.raises(ModelError) as caught:
        _ask("openai-chat:gpt-5-mini")
    assert caught.value.retryable is True


@pytest.mark.parametrize("name", ["gpt-5", "nobody:gpt-5", "", ":"])
def test_an_unknown_model_is_an_error_of_one_line(name: str) -> None:
    with pytest.raises(ModelError, match=f"cannot use the model '{name}': .*PROVIDER:MODEL") as caught:
        ProviderModel(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("openai:gpt-5", "OPENAI_API_KEY"),
        ("openai-chat:gpt-5", "OPENAI_API_KEY"),
        ("anthropic:claude", "ANTHROPIC_API_KEY"),
        ("google:gemini", "GEMINI_API_KEY or GOOGLE_API_KEY"),
        ("openrouter:x", "OPENROUTER_API_KEY"),
    ],
)
def test_a_missing_key_is_named(monkeypatch: pytest.MonkeyPatch, name: str, variable: str) -> None:
    for wanted in ("OPENAI", "ANTHROPIC", "GEMINI", "GOOGLE", "OPENROUTER"):
        monkeypatch.delenv(f"{wanted}_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(ModelError, match=f"cannot use the model '{name}': {variable} is not set"):
        ProviderModel(name)


@pytest.mark.parametrize("name", ["openai:gpt-5", "openai-chat:gpt-5"])
def test_a_private_server_needs_no_key(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert ProviderModel(name).name == name


def test_the_complete_conversation_is_sent_in_order_and_every_call_is_answered(provider: Any) -> None:
    calls = (ToolCall("a", "grep", {"pattern": "x"}), ToolCall("b", "grep", malformed="{"))
    conversation = (
        UserMessage("find x"),
        AssistantMessage("Looking.", calls),
        ToolMessage("a", "grep", "success", {"total": 0}),
        ToolMessage("b", "grep", "interrupted", "it was cut off"),
        AssistantMessage("Nothing."),
        UserMessage("again"),
    )
    provider.streams({"content": "ok"})
    _ask("openai-chat:gpt-5-mini", ModelRequest("", conversation))
    sent = provider.requests[0]["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool", "tool", "assistant", "user"]
    assert [call["id"] for call in sent[1]["tool_calls"]] == ["a", "b"]
    assert sent[1]["tool_calls"][1]["function"]["arguments"] == '{"not_a_json_object":"{"}'
    assert (sent[2]["tool_call_id"], sent[2]["content"]) == ("a", '{"total":0}')
    assert "outcome unknown" in sent[3]["content"]


def test_details_of_a_provider_are_sent_back_only_to_it() -> None:
    thought = {"part_kind": "thinking", "content": "hm", "signature": "s1", "provider_name": "anthropic"}
    call = {"part_kind": "tool-call", "tool_name": "grep", "args": "{}", "tool_call_id": "old"}
    response = {"kind": "response", "parts": [thought, call]}
    details = {"format": "pydantic-ai/2", "for": "anthropic:claude", "response": response}
    message = AssistantMessage("", (ToolCall("new", "grep", {"pattern": "x"}),), details=details)
    request = ModelRequest("", (UserMessage("hi"), message, ToolMessage("new", "grep", "success", 1)))
    same, other = _history(request, "anthropic:claude")[1], _history(request, "openai-chat:gpt-5")[1]
    assert [part.part_kind for part in same.parts] == ["thinking", "tool-call"]
    assert (same.parts[0].signature, same.parts[1].tool_call_id, same.parts[1].args) == ("s1", "new", {"pattern": "x"})
    assert [part.part_kind for part in other.parts] == ["tool-call"]


def test_a_run_survives_a_limit_a_lost_connection_and_duplicate_ids(provider: Any, workspace: Workspace) -> None:
    provider.fails(429)
    provider.calls(("same", "read_file", '{"path": "README.md"}'), ("same", "read_file", '{"path": ".env"}'))
    provider.streams({"content": "half a"}, cut=True)
    provider.streams({"content": "The project "}, {"content": "is about whales."})
    tools = workspace_tools(workspace)
    coordinator = Coordinator(ProviderModel("openai-chat:gpt-5-mini"), tools, system="be kind")
    store = SQLiteStore(":memory:")
    policy = RetryPolicy(max_attempts=3, initial_s=0, should_retry=lambda e: getattr(e, "retryable", False))
    runner = build_agent_runner(coordinator, tools, store, name="agent", retry=policy)
    state = AgentState().with_user("what is this about?").to_json()
    result = asyncio.run(runner.start(run_id="r", initial_state=state))
    after = AgentState.from_json(result.state)
    assert after.answer == "The project is about whales."
    assert [(m.call_id, m.outcome) for m in after.messages if isinstance(m, ToolMessage)] == [
        ("same", "success"),
        ("same-2", "failed"),
    ]
    assert len(provider.requests) == 4
    assert [attempt["error"] is None for attempt in runner.attempts("r")] == [False, True, False, True]
    assert after.usage.requests == 2
    assert [call["tries"] for call in runner.tool_calls("r")] == [1, 1]
    assert Usage() + after.usage == after.usage
