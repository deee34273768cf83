"""Token counts of several providers, counted in one way."""

from types import SimpleNamespace as Object

import pytest
from flow_xray import trace
from flow_xray._usage import usage_of

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
def test_an_answer_without_counts_gives_none(answer):
    assert usage_of(answer) == {}


def test_meta_takes_an_answer_as_usage():
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


def test_an_answer_whose_usage_raises_does_not_stop_the_program():
    def broken():
        raise RuntimeError("gone")

    with trace.capture() as session, trace.span("chat", kind="llm"):
        trace.meta(usage=Object(usage=broken))
    assert session.spans[0].meta == {"usage": "<its usage raised RuntimeError>"}


def test_a_usage_that_is_something_else_is_kept_as_it_is():
    with trace.capture() as session, trace.span("chat"):
        trace.meta(usage={"pages": 3})
    assert session.spans[0].meta == {"usage": {"pages": 3}}
