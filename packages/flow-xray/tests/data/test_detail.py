"""The short text next to a span's name."""

import pytest
from flow_xray import Span
from flow_xray._data.detail import detail_of


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, ""),
        ({"input": {"path": "a.md"}}, "a.md"),
        ({"input": {"a": 1, "b": True, "c": None, "d": 1.5}}, "a=1 b=true c=null d=1.5"),
        ({"input": {"limit": 12, "path": "a.md"}}, "path=a.md limit=12"),
        ({"input": {"items": list(range(1000)), "tags": ["x", 1]}}, "items=[1,000] tags=[x, 1]"),
        ({"input": "line one\nline two"}, "line one line two"),
        ({"input": {"state": {"deep": 1}}}, ""),
        ({"input": "x" * 500}, "x" * 95 + "…"),
        ({"meta": {"model": "m-1", "input_tokens": 2140, "output_tokens": 212}}, "2,140 → 212 · m-1"),
        ({"meta": {"model": "x", "input_tokens": 2140, "output_tokens": 212}}, "2,140 → 212"),  # the model is the name
        ({"meta": {"input_tokens": 5}}, "5 → ?"),
        ({"meta": {"attempt": 2}, "input": {"n": 1}}, "attempt 2 · 1"),
        ({"meta": {"attempt": 1}, "input": {"n": 1}}, "1"),
        ({"meta": {"reason": "rollback"}, "kind": "wait"}, "rollback"),
        ({"error": {"type": "E", "message": "m\nn"}, "status": "error"}, "E: m n"),
        ({"status": "interrupted", "input": {"n": 1}}, "interrupted · 1"),
    ],
)
def test_the_detail_distinguishes_a_call_from_its_neighbours(fields, words):
    assert detail_of(Span("a" * 16, None, "x", **fields)) == words
