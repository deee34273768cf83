"""The page as a file: order, blocks, policy. `browser/` tests it in a browser."""

import base64
import gzip
import hashlib
import json
import random
import re

import pytest
from flow_xray import Span, TraceResult
from flow_xray._data.order import in_tree_order
from flow_xray._write.page.document import build_page


def block(page, name):
    found = re.search(rf'<script type="application/octet-stream" id="{name}">([A-Za-z0-9+/=]*)</script>', page)
    return gzip.decompress(base64.b64decode(found[1]))


def test_spans_are_in_pre_order_with_siblings_by_time(make_span):
    root = make_span("root", at_s=0)
    late = make_span("late", parent=root, at_s=5)
    early = make_span("early", parent=root, at_s=1)
    below = make_span("below", parent=early, at_s=9)
    second = make_span("second root", at_s=3)
    ordered, parents = in_tree_order([late, below, second, root, early])
    assert [span.name for span in ordered] == ["root", "early", "below", "late", "second root"]
    assert list(parents) == [-1, 0, 1, 0, -1]


@pytest.mark.parametrize(
    "links",
    [
        {"a": "a"},
        {"a": "b", "b": "a"},
        {"a": "c", "b": "a", "c": "b", "d": "a", "e": None},
        {"a": "nowhere"},
    ],
)
def test_cycles_and_missing_parents_lose_no_span(links):
    spans = [Span(name, parent, name, started_at_ns=n) for n, (name, parent) in enumerate(links.items())]
    ordered, parents = in_tree_order(spans)
    assert sorted(span.name for span in ordered) == sorted(links)
    assert all(parent < index for index, parent in enumerate(parents))


def test_the_policy_names_the_script_and_the_style_and_allows_no_connection(make_span):
    page = TraceResult(spans=[make_span()]).to_html()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)[1]
    script = re.search(r"<script>(.*)</script></body>", page, re.DOTALL)[1]
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    for content in (script, style):
        assert "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() in policy
    assert policy.startswith("default-src 'none'")
    assert "connect-src 'none'" in policy
    assert "unsafe" not in policy


def test_the_page_has_no_external_address(make_span):
    page = TraceResult(spans=[make_span()]).to_html()
    outside = set(re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]+[^\"'`\s]*", page))
    assert outside <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1998/Math/MathML", "http://www.w3.org/1999/xhtml", "http://www.w3.org/1999/xlink"}  # fmt: skip


def test_no_data_becomes_markup(make_span):
    attack = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    page = TraceResult(
        name=attack,
        spans=[make_span(attack, kind=attack, input={attack: attack}, thread=attack)],
        meta={attack: attack},
    ).to_html()
    assert "alert(1)</script>" not in page
    assert page.count("<img") == 0


def test_the_same_trace_produces_the_same_bytes(make_span):
    trace = TraceResult(name="x", spans=[make_span(input={"a": 1})], trace_id="0" * 32)
    assert trace.to_html() == trace.to_html()


def test_a_history_of_two_hundred_turns_grows_with_its_length(make_span):
    def size(turns):
        history = [{"role": "user", "content": hashlib.sha256(str(n).encode()).hexdigest() * 8} for n in range(turns)]
        spans = [
            Span(f"{n + 1:016x}", None, "chat", "llm", n, 1, input={"messages": history[:n]}) for n in range(turns)
        ]
        page = TraceResult(spans=spans, is_frozen=True).to_html()
        json_size = len(TraceResult(spans=spans, is_frozen=True).to_json())
        return len(page) - len(TraceResult().to_html()), json_size

    (page_100, json_100), (page_200, json_200) = size(100), size(200)
    assert page_200 < 2.2 * page_100
    assert json_200 < 3 * json_100  # the references themselves still grow with every call


def test_ten_thousand_small_spans_take_less_than_three_hundred_kilobytes():
    numbers = random.Random(7)
    spans, at = [], 10**18
    for n in range(10_000):
        at += numbers.randrange(5_000, 60_000)
        is_model = n % 4 == 0
        spans.append(
            Span(
                f"{0x1234ABCD00000000 + n:016x}",
                spans[n // 10 * 10].id if n % 10 else None,
                "decide" if is_model else "search",
                "llm" if is_model else "tool",
                at,
                numbers.randrange(900, 4_000_000),
                input={"path": f"src/{n % 50}.py", "n": n},
                output={"ok": True, "size": numbers.randrange(100_000)},
                meta={"model": "m-large", "input_tokens": numbers.randrange(9_000)} if is_model else {},
            )
        )
    page = TraceResult(spans=spans, is_frozen=True).to_html()
    assert len(page) - len(TraceResult().to_html()) < 300_000


def test_a_chunk_has_one_list_for_each_facet(make_span):
    page = TraceResult(spans=[make_span(input=1), make_span(output=[2], tags=[{"name": "t"}])]).to_html()
    assert json.loads(block(page, "x-p0")) == {
        "input": [1, None],
        "output": [None, [2]],
        "error": [None, None],
        "meta": [None, None],
        "tags": [None, [{"name": "t"}]],
    }


def test_unusual_numbers_and_ids_are_accepted(make_span):
    span = make_span(meta={"input_tokens": -5, "output_tokens": 2**40, "cost_usd": True, "cache_read_tokens": "many"})
    span.id = "not hex at all \ud800"
    page = TraceResult(spans=[span]).to_html()
    head = json.loads(block(page, "x-head"))
    assert head["ids"] == ["not hex at all \ufffd"]
    assert head["count"] == 1


def test_a_cost_too_large_for_a_float_is_not_a_cost(make_span):
    page = TraceResult(spans=[make_span(kind="llm", meta={"cost_usd": 10**400})], is_frozen=True).to_html()
    assert json.loads(block(page, "x-head"))["count"] == 1


def test_an_empty_trace_has_a_page():
    assert json.loads(block(TraceResult(name="empty").to_html(), "x-head"))["count"] == 0


def test_calls_with_equal_name_and_input_are_counted_for_the_overview(make_span, read_block):
    spans = [make_span("search", kind="tool", input={"q": q}) for q in ("a", "b", "a", "a")]
    spans += [make_span("search", kind="step", input={"q": "a"}), make_span("tick"), make_span("tick")]
    spans += [make_span("ask", kind="llm", input={"q": "a"}), make_span("ask", kind="llm", input={"q": "a"})]
    head = read_block(TraceResult(spans=spans, is_frozen=True).to_html(), "x-head")
    assert head["repeats"] == [[0, 3, 3_000_000_000]]


def test_models_and_code_locations_are_separate_tables(make_span, read_block):
    spans = [make_span("ask", kind="llm", meta={"model": model}) for model in ("m-1", "m-2", "m-1", 7)]
    spans[0].code = "agent.py:12"
    head = read_block(TraceResult(spans=spans, is_frozen=True).to_html(), "x-head")
    assert (head["models"], head["codes"]) == (["m-1", "m-2"], ["", "agent.py:12"])


def test_the_details_next_to_the_names_are_a_block_of_lines(make_span):
    spans = [
        make_span(input={"a": "two\nlines"}),
        make_span(input={"a": "\u2028\x85x"}),
        make_span(input={"a": "two\nlines"}),
    ]
    lines = block(TraceResult(spans=spans, is_frozen=True).to_html(), "x-det").decode().split("\n")
    assert lines == ["two lines", "x"]


def test_a_page_has_the_coverage_of_the_source_when_it_is_given(make_span, read_block):
    context = {"nodes": [{"id": "a.py:1", "name": "</script>", "file": "a.py", "line": 1, "executed": True}]}
    trace = TraceResult(spans=[make_span()], is_frozen=True)
    assert read_block(build_page(trace, context=context), "x-ctx") == context
    assert 'id="x-ctx"' not in build_page(trace)


def test_the_title_holds_no_control_characters():
    page = TraceResult(name="\x1b[31m\ud800</title>\u202e").to_html()
    assert "<title>\ufffd[31m\ufffd&lt;/title&gt;\ufffd · flow-xray</title>" in page
