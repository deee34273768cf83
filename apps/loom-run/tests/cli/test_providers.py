"""The command with a provider's model, against a fake server on loopback."""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from loom_agents.testing import FakeProvider

Run = Callable[..., Any]

HAS_PROVIDERS = importlib.util.find_spec("pydantic_ai") is not None and importlib.util.find_spec("openai") is not None


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider.installed() as server:
        yield server


@pytest.mark.skipif(
    not HAS_PROVIDERS and not os.environ.get("LOOM_REQUIRE_ALL"), reason="pydantic-ai is not on this machine"
)
class TestWithProviders:
    @pytest.mark.parametrize("model", ["openai-chat:gpt-5-mini", "ollama:qwen3"])
    def test_every_provider_gives_the_same_conversation(
        self, loom_run: Run, provider: FakeProvider, model: str
    ) -> None:
        provider.calls(("a", "search_docs", '{"query": "whales"}'))
        provider.streams({"content": "It is about "}, {"content": "whales."})
        ended = loom_run("chat", "what is this?", "-r", "demo", "--model", model)
        assert (ended.code, ended.out) == (0, "It is about whales.\n")
        price = "cost unknown" if "ollama" in model else "$0.0003"
        assert f"2 steps, 2,000 in (1,200 cached) / 40 out tokens, {price}" in ended.err
        assert [message["role"] for message in provider.requests[1]["messages"]] == [
            "system",
            "user",
            "assistant",
            "tool",
        ]

    def test_a_wrong_key_exits_with_6_and_the_run_can_be_retried(self, loom_run: Run, provider: FakeProvider) -> None:
        provider.fails(401, "Incorrect API key")
        failed = loom_run("chat", "hello", "-r", "demo", "--model", "openai-chat:gpt-5-mini")
        assert failed.code == 6
        assert "Incorrect API key" in failed.err
        assert "Try again: loom-run resume demo" in failed.err
        provider.streams({"content": "Hello."})
        assert loom_run("resume", "demo").out == "Hello.\n"

    def test_a_missing_key_is_reported_in_one_line_without_a_run(
        self, loom_run: Run, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("OPENAI_API_KEY")
        monkeypatch.delenv("OPENAI_BASE_URL")  # a server at another URL needs no key
        ended = loom_run("chat", "hello", "-r", "demo", "--model", "openai-chat:gpt-5-mini")
        assert ended.code == 6
        assert len(ended.err.splitlines()) == 1
        assert "OPENAI_API_KEY" in ended.err
        assert loom_run("runs", "--output", "json").json == []

    def test_an_unknown_provider_is_reported_in_one_line(self, loom_run: Run) -> None:
        ended = loom_run("chat", "hello", "--model", "nobody:x")
        assert ended.code == 6
        assert len(ended.err.splitlines()) == 1


def test_without_the_extra_a_model_is_refused_in_one_line(loom_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in {"pydantic_ai", *(name for name in sys.modules if name.startswith("pydantic_ai."))}:
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    ended = loom_run("chat", "hello", "-r", "demo", "--model", "openai:gpt-5")
    assert ended.code == 6
    assert len(ended.err.splitlines()) == 1
    assert "pydantic-ai is not installed. Install loom-agents[openai]" in ended.err
    assert loom_run("runs", "--output", "json").json == []
