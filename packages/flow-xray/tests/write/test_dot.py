"""The Graphviz form: folded, and names are always text."""

from flow_xray import TraceResult


def test_calls_are_folded_by_name_and_kind_with_counts(make_span):
    root = make_span("main", kind="agent")
    spans = [root, *(make_span("ask", kind="llm", parent=root, meta={"input_tokens": 10}) for _ in range(3))]
    spans.append(make_span("ask", kind="llm", parent=root, status="error", error={"type": "E"}))
    text = TraceResult(name="t", spans=spans).to_dot()
    assert text.count("  n1 [") == 1
    assert 'label="ask\\nllm, 4×, 4.00 s, 30 tokens, 1 failed", shape=box, color="#b42318"' in text
    assert 'n0 -> n1 [label="4×"];' in text


def test_recursion_is_an_edge_to_itself_and_an_empty_trace_a_graph_without_nodes(make_span):
    root = make_span("f")
    assert "n0 -> n0;" in TraceResult(spans=[root, make_span("f", parent=root)]).to_dot()
    assert TraceResult(name="none").to_dot().startswith('digraph "none" {')


def test_quotes_and_backslashes_in_names_are_escaped(make_span):
    text = TraceResult(spans=[make_span('a"b\\N')]).to_dot()
    assert 'label="a\\"b\\\\N\\n' in text


def test_names_with_control_characters_and_lone_surrogates_become_plain_text(make_span, tmp_path):
    TraceResult(name="q\ud800", spans=[make_span("a\x00b")]).to_dot(tmp_path / "t.dot")
    text = (tmp_path / "t.dot").read_text()
    assert text.startswith('digraph "q?" {')
    assert 'label="a b\\nfunction' in text
