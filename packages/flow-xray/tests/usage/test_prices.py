"""The cost of a model call: recorded, computed, or unknown."""

import json
import socket
import subprocess
import sys

import pytest
from flow_xray import TraceFormatError, TraceResult
from flow_xray._usage.prices import _library_pricer, priced

PRICES = {"models": {"mine": {"input": 1, "output": 10, "cache_read": 0.1}, "small-*": {"input": 2, "output": 2}, "small-x*": {"input": 4, "output": 4}}}  # fmt: skip


@pytest.fixture
def price_file(tmp_path):
    def write(content=PRICES):
        path = tmp_path / "prices.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


@pytest.fixture
def call(make_span):
    def make(model="mine", input_tokens=1_000_000, output_tokens=100_000, kind="llm", parent=None, **meta):
        meta = {"model": model, "input_tokens": input_tokens, "output_tokens": output_tokens, **meta}
        return make_span("chat", kind=kind, parent=parent, meta=meta)

    return make


@pytest.fixture
def no_library(monkeypatch):
    monkeypatch.setattr("flow_xray._usage.prices._library_pricer", lambda: None)


def costs(trace, path=None):
    return [span.meta.get("cost_usd") for span in priced(trace, path).spans]


@pytest.mark.parametrize(
    ("model", "more", "cost"),
    [
        ("mine", {}, 2.0),
        ("mine", {"cache_read_tokens": 400_000}, 0.6 + 0.04 + 1.0),
        ("mine", {"cache_read_tokens": 400_000, "cache_write_tokens": 100_000}, 0.5 + 0.04 + 0.1 + 1.0),
        ("small-1", {}, 2.2),
        ("small-x1", {}, 4.4),
        ("other", {}, None),
    ],
)
def test_a_price_file_determines_the_cost_of_its_models(call, price_file, no_library, model, more, cost):
    [found] = costs(TraceResult(spans=[call(model, **more)]), price_file())
    assert found == (cost if cost is None else pytest.approx(cost))


def test_a_recorded_cost_stays_and_a_computed_one_is_computed_again(call, price_file):
    spans = [call(cost_usd=0.5), call(cost_usd=0.5, cost_source="genai-prices 0")]
    assert costs(TraceResult(spans=spans), price_file()) == [0.5, 2.0]
    assert costs(TraceResult(spans=spans)) == [0.5, 0.5]


def test_the_trace_itself_is_not_changed(call, price_file):
    trace = TraceResult(spans=[call()])
    priced(trace, price_file())
    assert "cost_usd" not in trace.spans[0].meta


def test_the_sum_of_an_agent_is_not_priced_in_addition_to_the_calls_below_it(call, price_file):
    agent = call(kind="agent")
    alone = call(kind="agent")
    spans = [agent, call(parent=agent), alone]
    assert costs(TraceResult(spans=spans), price_file()) == [None, 2.0, 2.0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "it is not JSON"),
        ("[]", "it has no models"),
        ({"models": {}}, "no model in it has a price"),
        ({"models": {"m": {"input": 1}}}, "output is None"),
        ({"models": {"m": {"input": -1, "output": 1}}}, "input is -1"),
        ({"models": {"m": {"input": "1", "output": 1}}}, "input is '1'"),
        ({"models": {"m": 3}}, "input is None"),
        ({"models": {"m": {"input": 1, "output": 1, "cache_read": True}}}, "cache_read is True"),
        ({"m": {"a": 1}}, "no model in it has a price"),
    ],
)
def test_an_invalid_price_file_is_an_error(call, price_file, content, words):
    with pytest.raises(TraceFormatError, match=words):
        priced(TraceResult(spans=[call()]), price_file(content))


def test_a_missing_price_file_is_an_error(call, tmp_path):
    with pytest.raises(TraceFormatError, match="No such file"):
        priced(TraceResult(spans=[call()]), tmp_path / "none.json")


def test_the_price_table_of_litellm_is_read(call, price_file, no_library):
    table = {"sample_spec": {"mode": "chat"}, "mine": {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-5}}
    assert costs(TraceResult(spans=[call(cache_read_tokens=10)]), price_file(table)) == [pytest.approx(2.0)]


@pytest.fixture
def library():
    pytest.importorskip("genai_prices")
    _library_pricer.cache_clear()
    yield
    _library_pricer.cache_clear()


@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "anthropic/claude-sonnet-4-5", "anthropic:claude-sonnet-4-5"])
def test_the_library_prices_known_models_with_their_cache(call, library, model):
    trace = TraceResult(spans=[call(model, 1_000, 0, cache_read_tokens=400)])
    [span] = priced(trace).spans
    assert span.meta["cost_usd"] == pytest.approx(0.00192)
    assert span.meta["cost_source"].startswith("genai-prices ")


@pytest.mark.parametrize(
    ("model", "more"),
    [
        ("no-such-model", {}),
        ("", {}),
        ("x/y:z", {}),
        ("gpt-4o", {"cache_read_tokens": 10**9}),
        ("nope", {"provider": "openai"}),
    ],
)
def test_an_unknown_model_or_impossible_counts_are_unpriced_and_not_free(call, library, model, more):
    trace = TraceResult(spans=[call(model, **more), call(model, **more)])
    assert costs(trace) == [None, None]


def test_pricing_does_not_use_the_network(call, library, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert costs(TraceResult(spans=[call("gpt-4o")])) == [pytest.approx(3.5)]


def test_every_written_form_has_the_cost(call, library, price_file):
    trace = TraceResult(spans=[call("gpt-4o")])
    assert TraceResult.from_json(trace.to_json()).spans[0].meta["cost_usd"] == pytest.approx(3.5)
    assert '"cost_usd": 3.5' in trace.to_chrome()
    mine = TraceResult(spans=[call()])
    assert mine.priced(price_file()).spans[0].meta["cost_usd"] == pytest.approx(2.0)


def test_without_the_extra_recorded_costs_stay_and_the_rest_is_unpriced():
    code = """
import sys
sys.modules["genai_prices"] = None
from flow_xray import Span, TraceResult
meta = {"model": "gpt-4o", "input_tokens": 10}
spans = [Span("1" * 16, None, "a", "llm", meta=meta), Span("2" * 16, None, "b", "llm", meta={**meta, "cost_usd": 1.5})]
print([span.meta.get("cost_usd") for span in TraceResult(spans=spans).priced().spans])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[None, 1.5]\n", done.stderr


def test_the_library_is_not_loaded_for_a_trace_without_tokens(tmp_path):
    code = """
import sys
from flow_xray import trace
with trace.capture() as session, trace.span("a", kind="llm"):
    trace.meta(model="gpt-4o")
session.result().to_html(sys.argv[1])
print("genai_prices" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "p.html"], capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n", done.stderr
