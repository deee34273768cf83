"""The page of a difference: every call of both runs in one order, with both traces."""

import pytest
from flow_xray import Span, TraceResult


@pytest.fixture
def run(make_span):
    """Return a function that builds a trace from an outline: (name, output, [callees])."""

    def make(*outline, name="run"):
        spans = []

        def add(parent, items):
            for label, output, *below in items:
                span = make_span(label, parent=parent, output=output)
                spans.append(span)
                add(span, below[0] if below else [])

        add(None, outline)
        return TraceResult(name=name, spans=spans, is_frozen=True)

    return make


@pytest.fixture
def rows(read_block):
    """Return a function that returns (mark, depth, name before, name after) of each row."""

    def read(before, after):
        page = before.diff(after).to_html()
        found, old, new = (read_block(page, name) for name in ("x-diff", "y-head", "x-head"))
        assert len(found["what"]) == len(found["old"]) == len(found["new"]) == len(found["depth"])
        names = [
            [None if index < 0 else sorted_names[index] for index in side]
            for side, sorted_names in ((found["old"], in_order(before)), (found["new"], in_order(after)))
        ]
        assert (old["count"], new["count"]) == (len(before.spans), len(after.spans))
        return list(zip(found["what"], found["depth"], *names, strict=True))

    return read


def in_order(trace):
    """The names in pre-order; the traces of these tests are made in that order."""
    return [span.name for span in trace.spans]


def test_equal_runs_are_all_the_same(run, rows):
    outline = ("main", 1, [("a", 1), ("b", 2)])
    assert rows(run(outline), run(outline)) == [
        ("=", 0, "main", "main"),
        ("=", 1, "a", "a"),
        ("=", 1, "b", "b"),
    ]


def test_rows_are_in_the_order_of_the_tree(run, rows):
    before = run(("main", 1, [("a", 1), ("gone", 5, [("inner", 6)]), ("b", 2), ("c", 3)]))
    after = run(("main", 1, [("a", 1), ("b", 20), ("new", 7, [("leaf", 8, [("twig", 9)])]), ("c", 3)]))
    assert rows(before, after) == [
        ("=", 0, "main", "main"),
        ("=", 1, "a", "a"),
        ("-", 1, "gone", None),
        ("-", 2, "inner", None),
        ("~", 1, "b", "b"),
        ("+", 1, None, "new"),
        ("+", 2, None, "leaf"),
        ("+", 3, None, "twig"),
        ("=", 1, "c", "c"),
    ]


def test_calls_removed_from_the_beginning_come_first(run, rows):
    found = rows(run(("first", 1), ("main", 1)), run(("main", 1)))
    assert [row[0] for row in found] == ["-", "="]


def test_the_page_shows_what_changed_and_by_how_much(run, read_block):
    before, after = run(("a", 1), ("b", 2), name="one"), run(("a", 1), ("b", 3), name="two")
    page = before.diff(after).to_html()
    found = read_block(page, "x-diff")
    assert (found["before"], found["after"], found["facts"]) == ("one", "two", {"1": ["output: 2 -> 3"]})
    assert ["calls", "2", "2"] in found["totals"]
    assert "<title>one → two · flow-xray</title>" in page
    ignored = read_block(before.diff(after, ignore=["output"]).to_html(), "x-diff")
    assert (ignored["what"], ignored["ignore"]) == ("==", ["output"])


def test_a_difference_without_its_traces_has_a_page(run, read_block):
    from flow_xray import TraceDiff

    found = run(("a", 1)).diff(run(("a", 2)))
    bare = TraceDiff(found.before_name, found.after_name, found.changes, found.before, found.after)
    assert read_block(bare.to_html(), "x-diff")["what"] == ""
    assert bare == TraceDiff(found.before_name, found.after_name, found.changes, found.before, found.after)


def test_ten_thousand_levels_make_rows():
    spans = [Span(f"{n + 1:016x}", f"{n:016x}" if n else None, f"level {n}") for n in range(10_000)]
    page = TraceResult(spans=spans, is_frozen=True).diff(TraceResult(spans=spans, is_frozen=True)).to_html()
    assert len(page) < 1_500_000
