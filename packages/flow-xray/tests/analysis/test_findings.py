"""Findings: the built-in rules, their limits, and custom rules."""

import json

import pytest
from flow_xray import Span, TraceResult
from flow_xray._analysis.findings import Finding, analyze
from flow_xray._cli.main import main
from flow_xray._data.tree import SpanTree

MS = 1_000_000


@pytest.fixture
def found(make_span):
    """Return a function: spans -> rule, name of the call and severity of each finding."""

    def of(*spans, meta=None, rules=()):
        trace = TraceResult(spans=list(spans), meta=meta or {}, is_frozen=True)
        names = {span.id: span.name for span in spans}
        return [(each.rule, names.get(each.span_id), each.severity) for each in analyze(trace, rules)]

    return of


def test_a_clean_run_has_no_findings(found, make_span):
    root = make_span("main", kind="agent")
    assert found(root, *(make_span("read", parent=root, kind="tool", input={"n": n}) for n in range(20))) == []
    assert found() == []


ERROR = {"type": "ValueError", "message": "no", "traceback": ""}


def test_an_error_is_reported_where_it_was_raised_and_a_successful_retry_lowers_its_severity(found, make_span):
    root = make_span("main", status="error", error={**ERROR, "origin": "x"})
    first = make_span("fetch", parent=root, status="error", error=ERROR, input={"u": 1})
    other = make_span("fetch", parent=root, status="error", error=ERROR, input={"u": 2})
    again = make_span("fetch", parent=root, input={"u": 1})
    assert found(root, first, other, again) == [("error", "fetch", "error"), ("error", "fetch", "warning")]
    assert found(make_span("cut", status="interrupted", duration_ns=None)) == [("interrupted", "cut", "error")]


def test_a_slow_call_is_far_from_similar_calls_and_not_just_the_slowest(found, make_span):
    def calls(name, *times, kind="tool"):
        return [make_span(name, kind=kind, duration_ns=time * MS, input={"n": n}) for n, time in enumerate(times)]

    steady = [100, 104, 98, 101, 99, 103, 97, 102]
    assert found(*calls("a", *steady, 130)) == []
    assert found(*calls("a", *steady, 900)) == [("slow", "a", "warning")]
    assert found(*calls("a", *[1] * 8, 9)) == [], "9 ms more is nothing that a person notices"
    assert found(*calls("a", 100, 100, 900)) == [], "three calls say nothing about what is usual"
    mixed = [span for n in range(9) for span in calls(f"tool {n}", 900 if n == 5 else 100)]
    assert found(*mixed) == [("slow", "tool 5", "warning")], "tools with few calls are compared with the other tools"
    assert found(*[span for n in range(9) for span in calls(f"f{n}", 900 if n == 5 else 100, kind="function")]) == []


def test_a_repeated_call_is_reported_and_its_output_determines_the_severity(found, make_span):
    def ask(question, answer, **more):
        return make_span("ask", kind="llm", input={"q": question}, output=answer, **more)

    assert found(ask("a", 1), ask("b", 1), ask("a", 1)) == [("repeated", "ask", "warning")]
    assert found(ask("a", 1), ask("a", 2)) == [("repeated", "ask", "info")]
    assert found(ask("a", None, status="error", error=ERROR), ask("a", 2)) == [("error", "ask", "warning")]
    assert found(make_span("f", input={"q": 1}), make_span("f", input={"q": 1})) == []


def test_calls_after_the_budget_are_found(found, make_span):
    root = make_span("main", at_s=0, duration_ns=60_000 * MS, meta={"budget": {"tokens": 100}})
    first = make_span("one", parent=root, kind="llm", at_s=1, meta={"input_tokens": 90})
    second = make_span("two", parent=root, kind="llm", at_s=3, meta={"input_tokens": 90})
    beside = make_span("beside", parent=root, kind="tool", at_s=3.5)
    third = make_span("three", parent=root, kind="tool", at_s=5)
    outside = make_span("outside", kind="tool", at_s=9)
    assert found(root, first, second, beside, third, outside) == [("after_budget", "three", "error")]


def test_a_budget_of_the_trace_and_a_mark_in_time_count_too(found, make_span):
    calls = [make_span(f"c{n}", kind="tool", at_s=2 * n, input={"n": n}) for n in range(3)]
    assert found(*calls, meta={"budget": {"calls": 2}}) == [("after_budget", "c2", "error")]
    at = calls[1].started_at_ns
    assert [name for _, name, _ in found(*calls, meta={"tags": [{"name": "budget_exceeded", "at_ns": at}]})] == [
        "c1",
        "c2",
    ]
    assert found(*calls, meta={"budget": {"calls": True, "tokens": "many"}}) == []
    assert found(*calls, meta={"budget": {"cost_usd": 5}}) == []


def test_a_sum_that_does_not_add_up_is_found(found, make_span):
    root = make_span("agent", meta={"input_tokens": 100, "output_tokens": 10})
    middle = make_span("step", parent=root)
    calls = [make_span("llm", parent=middle, meta={"input_tokens": 50, "output_tokens": n}) for n in (5, 7)]
    assert (
        found(root, middle, calls[0], make_span("llm", parent=root, meta={"input_tokens": 50, "output_tokens": 5}))
        == []
    )
    assert found(root, middle, *calls) == [("usage", "agent", "warning")]
    imported = make_span("imported", meta={"reported_usage": {"input_tokens": 9}})
    assert found(imported, make_span("llm", parent=imported, meta={"input_tokens": 9})) == []
    assert found(imported, make_span("llm", parent=imported, meta={"input_tokens": 8})) == [
        ("usage", "imported", "warning")
    ]


def test_custom_rules_return_findings_or_texts(found, make_span):
    def no_shell(tree):
        return [Finding("no_shell", span.id, "a shell was used", "error") for span in tree if span.name == "shell"]

    def one_text(tree):
        return f"{len(tree)} calls"

    def nothing(tree): ...

    spans = make_span("shell"), make_span("other")
    assert found(*spans, rules=[one_text, no_shell, nothing]) == [
        ("no_shell", "shell", "error"),
        ("one_text", None, "warning"),
    ]


def test_a_rule_that_raises_is_a_finding_and_the_others_still_run(make_span):
    def broken(tree):
        raise KeyError("password=hunter2x9")

    def foreign(tree):
        return [7]

    def grave(tree):
        return Finding("grave", None, "x", "fatal")

    def late(tree):
        yield "first"
        raise OSError("later")

    found = analyze(TraceResult(spans=[make_span()]), [broken, foreign, grave, late, lambda tree: "fine"])
    assert [(each.rule, each.severity) for each in found] == [
        ("broken", "error"), ("foreign", "error"), ("grave", "error"), ("late", "error"), ("lambda", "warning"),
    ]  # fmt: skip
    assert "hunter2x9" not in found[0].message
    assert "7 is not a finding" in found[1].message


def test_a_rule_can_walk_the_tree(make_span):
    root = make_span("main")
    child = make_span("child", parent=root)
    tree = SpanTree(TraceResult(spans=[child, root], is_frozen=True))
    assert [span.name for span in tree] == ["main", "child"]
    assert (tree.roots, tree.children(root), tree.parent(child), tree.parent(root)) == ([root], [child], root, None)
    assert tree.path(child) == "main > child"


def test_ten_thousand_levels_and_a_hundred_thousand_calls_are_analyzed_quickly():
    deep = [Span(f"{n + 1:016x}", f"{n:016x}" if n else None, f"level {n}", "tool") for n in range(10_000)]
    assert analyze(TraceResult(spans=deep, is_frozen=True)) == ()
    wide = [
        Span(f"{n + 1:016x}", None, "call", "tool", n, 1, "error" if n % 2 else "ok", {"n": n // 2}, None, dict(ERROR))
        for n in range(20_000)
    ]
    assert len(analyze(TraceResult(spans=wide, is_frozen=True))) == 10_000


@pytest.fixture
def file(tmp_path, make_span):
    path = tmp_path / "t.json"
    TraceResult(name="demo", spans=[make_span("fetch", status="error", error=ERROR)]).to_json(path)
    return str(path)


def test_the_command_lists_findings_and_fails_only_with_the_option(file, capsys):
    assert main(["analyze", file]) == 0
    assert capsys.readouterr().out.startswith("error    error: fetch raised ValueError: no  [")
    assert main(["analyze", file, "--fail-on", "error", "--output", "json"]) == 1
    (finding,) = json.loads(capsys.readouterr().out)
    assert (finding["rule"], finding["severity"]) == ("error", "error")


def test_the_command_applies_custom_rules(file, capsys, tmp_path):
    rules = tmp_path / "rules.py"
    rules.write_text("def quiet(tree):\n    return 'too quiet'\nNUMBER = 5\n")
    assert main(["analyze", file, "--rule", f"{rules}:quiet", "--fail-on", "warning"]) == 1
    assert "warning  quiet: too quiet" in capsys.readouterr().out
    for given in (f"{rules}:none", f"{rules}:NUMBER", "rules.py", str(tmp_path / "no.py") + ":x", "no_such_module:x"):
        assert main(["analyze", file, "--rule", given]) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n"), "cannot use the rule" in err) == ("", 1, True)
