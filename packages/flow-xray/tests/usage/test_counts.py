"""Token counts of several providers, counted the same way."""

from types import SimpleNamespace as Object

import pytest
from flow_xray import trace
from flow_xray._usage.counts import usage_of

OPENAI_CHAT = Object(
    model="gpt-x",
    usage=Object(
        prompt_tokens=1000,
        completion_tokens=50,
        total_tokens=1050,
        prompt_tokens_details=Object(cached_tokens=400, audio_tokens=0),
        completion_tokens_details=Object(reasoning_tokens=20),
    ),
)
OPENAI_RESPONSES = {
    "model": "gpt-x",
    "usage": {
        "input_tokens": 1000,
        "input_tokens_details": {"cached_tokens": 400},
        "output_tokens": 50,
        "output_tokens_details": {"reasoning_tokens": 20},
    },
}
ANTHROPIC = Object(
    model="claude-x",
    usage=Object(input_tokens=500, cache_read_input_tokens=400, cache_creation_input_tokens=100, output_tokens=50),
)
PYDANTIC_AI = Object(
    model_name="m",
    usage=Object(
        input_tokens=1000,
        cache_read_tokens=400,
        cache_write_tokens=100,
        output_tokens=50,
        details={"reasoning_tokens": 20},
    ),
)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (OPENAI_CHAT, {"model": "gpt-x", "cache_read_tokens": 400, "reasoning_tokens": 20}),
        (OPENAI_RESPONSES, {"model": "gpt-x", "cache_read_tokens": 400, "reasoning_tokens": 20}),
        (ANTHROPIC, {"model": "claude-x", "cache_read_tokens": 400, "cache_write_tokens": 100}),
        (PYDANTIC_AI, {"model": "m", "cache_read_tokens": 400, "cache_write_tokens": 100, "reasoning_tokens": 20}),
        (Object(usage=lambda: Object(request_tokens=1000, response_tokens=50)), {}),
        ({"input_tokens": 1000, "output_tokens": 50}, {}),
        (
            Object(input_tokens=1000, output_tokens=50, cache_read_input_tokens=None, cache_creation_input_tokens=None),
            {},
        ),
    ],
)
def test_every_provider_is_counted_in_the_same_way(answer, expected):
    assert usage_of(answer) == {"input_tokens": 1000, "output_tokens": 50, **expected}


@pytest.mark.parametrize(
    "answer", [None, {}, "text", 7, Object(usage=None), {"usage": {"input_tokens": True, "output_tokens": -1}}]
)
def test_a_response_without_counts_has_none(answer):
    assert usage_of(answer) == {}


class Broken:
    def __getattr__(self, name):
        raise RuntimeError("gone")


def test_a_response_that_cannot_be_inspected_has_none():
    for answer in (Broken(), {"usage": Broken()}, [Broken()], Object(usage=lambda needed: None)):
        assert usage_of(answer) == {}


def test_caches_larger_than_the_input_are_added_to_it():
    given = {"input_tokens": 10, "cache_read_tokens": 900, "cache_write_tokens": 0, "output_tokens": 5}
    assert usage_of(given) == {"input_tokens": 910, "cache_read_tokens": 900, "output_tokens": 5}


def test_google_counts_thoughts_separately_from_the_output():
    counts = Object(
        prompt_token_count=100, candidates_token_count=5, cached_content_token_count=40, thoughts_token_count=7
    )
    assert usage_of(Object(usage_metadata=counts, model_version="gemini-x")) == {
        "input_tokens": 100, "output_tokens": 12, "cache_read_tokens": 40, "reasoning_tokens": 7, "model": "gemini-x",
    }  # fmt: skip


def test_the_real_objects_of_the_libraries_are_read():
    anthropic, chat = pytest.importorskip("anthropic.types"), pytest.importorskip("openai.types.completion_usage")
    responses = pytest.importorskip("openai.types.responses.response_usage")
    assert usage_of(
        anthropic.Usage(
            input_tokens=10, cache_read_input_tokens=900, cache_creation_input_tokens=90, output_tokens=50,
            output_tokens_details={"thinking_tokens": 20},
        )
    ) == {"input_tokens": 1000, "output_tokens": 50, "cache_read_tokens": 900, "cache_write_tokens": 90, "reasoning_tokens": 20}  # fmt: skip
    assert usage_of(
        chat.CompletionUsage(
            prompt_tokens=1000, completion_tokens=50, total_tokens=1050,
            prompt_tokens_details=chat.PromptTokensDetails(cached_tokens=900, cache_write_tokens=90),
        )
    ) == {"input_tokens": 1000, "output_tokens": 50, "cache_read_tokens": 900, "cache_write_tokens": 90}  # fmt: skip
    assert usage_of(
        responses.ResponseUsage(
            input_tokens=1000, output_tokens=50, total_tokens=1050,
            input_tokens_details=responses.InputTokensDetails(cached_tokens=900, cache_write_tokens=90),
            output_tokens_details=responses.OutputTokensDetails(reasoning_tokens=20),
        )
    ) == {"input_tokens": 1000, "output_tokens": 50, "cache_read_tokens": 900, "cache_write_tokens": 90, "reasoning_tokens": 20}  # fmt: skip


def test_the_responses_in_a_list_of_pydantic_ai_messages_are_added_up():
    messages, usage = pytest.importorskip("pydantic_ai.messages"), pytest.importorskip("pydantic_ai.usage")
    answer = messages.ModelResponse(
        [messages.TextPart("yes")],
        usage=usage.RequestUsage(input_tokens=100, cache_read_tokens=40, output_tokens=5, output_reasoning_tokens=2),
        model_name="m-1",
        provider_name="openai",
    )
    question = messages.ModelRequest([messages.UserPromptPart("?")])
    assert usage_of([question, answer, question, answer]) == {
        "input_tokens": 200, "output_tokens": 10, "cache_read_tokens": 80, "reasoning_tokens": 4, "model": "m-1", "provider": "openai",
    }  # fmt: skip


def test_meta_takes_a_response_as_usage():
    with trace.capture() as session, trace.span("chat", kind="llm"):
        trace.meta(usage=ANTHROPIC, temperature=0)
    assert session.spans[0].meta == {
        "input_tokens": 1000,
        "output_tokens": 50,
        "cache_read_tokens": 400,
        "cache_write_tokens": 100,
        "model": "claude-x",
        "temperature": 0,
    }


def test_a_response_whose_usage_raises_does_not_stop_the_program():
    def broken():
        raise RuntimeError("gone")

    with trace.capture() as session, trace.span("chat", kind="llm"):
        trace.meta(usage=Object(usage=broken))
    assert "usage" in session.spans[0].meta
    assert "input_tokens" not in session.spans[0].meta


def test_an_unknown_usage_value_is_recorded_unchanged():
    with trace.capture() as session, trace.span("chat"):
        trace.meta(usage={"pages": 3})
    assert session.spans[0].meta == {"usage": {"pages": 3}}
