"""The difference of two traces: alignment, volatile values, totals, `flow-xray diff`."""

import time

import pytest
from flow_xray import Span, TraceDiff, TraceResult
from flow_xray._cli.main import main
from flow_xray._compare.normalize import normal


def run(*calls, name="run", **root):
    """A root with one call after the other below it: (name, input, output) or a dict of fields."""
    spans = [Span(f"{1:016x}", None, "main", "agent", 0, 10**9, **root)]
    for n, call in enumerate(calls):
        fields = call if isinstance(call, dict) else dict(zip(("name", "input", "output"), call, strict=False))
        given = {"kind": "tool", "started_at_ns": n * 1_000, "duration_ns": 900, **fields}
        spans.append(Span(id=f"{n + 2:016x}", parent_id=spans[0].id, **given))
    return TraceResult(name=name, spans=spans, is_frozen=True)


def seen(difference):
    return [(change.what, change.path.removeprefix("main > ")) for change in difference.changes]


def test_equal_runs_do_not_differ():
    difference = run(("a", 1, 2)).diff(run(("a", 1, 2)))
    assert isinstance(difference, TraceDiff)
    assert not difference
    assert "no change" in difference.to_text()


def test_an_inserted_call_shifts_nothing():
    before = run(*[("read", n, n) for n in range(20)])
    after = run(("read", "new", 0), *[("read", n, n) for n in range(20)])
    assert seen(before.diff(after)) == [("added", "read")]
    assert seen(after.diff(before)) == [("removed", "read")]


def test_a_call_with_another_argument_is_a_changed_call_and_not_two():
    difference = run(("a", 1), ("b", {"q": "old", "n": 1}), ("c", 3)).diff(
        run(("a", 1), ("b", {"q": "new", "n": 1}), ("c", 3))
    )
    assert seen(difference) == [("changed", "b")]
    assert difference.changes[0].facts == ('input.q: "old" -> "new"',)


def test_sequential_calls_that_change_their_order_are_moved():
    assert seen(run(("a", 1), ("b", 2)).diff(run(("b", 2), ("a", 1)))) == [("moved", "b")]


def test_parallel_calls_may_change_their_order():
    def both(*names):
        return run(*({"name": name, "duration_ns": 50_000} for name in names))

    assert not both("a", "b", "c").diff(both("c", "a", "b"))


def test_a_call_parallel_to_one_sibling_may_not_overtake_another():
    def three(order):
        starts = {"a": (0, 10), "b": (0, 10), "c": (20, 10)} if order else {"b": (0, 10), "c": (20, 10), "a": (40, 10)}
        return run(*({"name": n, "started_at_ns": at, "duration_ns": took} for n, (at, took) in starts.items()))

    assert seen(three(True).diff(three(False))) == [("moved", "a")]
    assert not three(True).diff(three(True))


def test_equal_parallel_calls_may_swap_their_outputs_but_sequential_ones_may_not():
    def polls(*answers, took):
        return run(*({"name": "poll", "input": 1, "output": each, "duration_ns": took} for each in answers))

    assert not polls("a", "b", "c", took=50_000).diff(polls("c", "a", "b", took=50_000))
    assert seen(polls("a", "b", took=50_000).diff(polls("b", "x", took=50_000))) == [("changed", "poll")]
    assert len(polls("pending", "done", took=10).diff(polls("done", "pending", took=10)).changes) == 2


def test_nothing_below_an_inserted_call_is_listed():
    before = run(("a", 1))
    after = run(("a", 1), ("b", 2))
    after.spans.append(Span("00000000000000ff", after.spans[-1].id, "inner"))
    assert seen(before.diff(after)) == [("added", "b")]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("run 3f2504e0-4f89-11d3-9a0c-0305e82c3301", "run 9b2504e0-4f89-11d3-9a0c-0305e82c33ff"),
        ("at 2026-11-21T05:00:00.123Z", "at 2027-01-02 06:07:08+01:00"),
        ("<object at 0x7f0012345678>", "<object at 0x7fffffffff00>"),
        ("read /tmp/pytest-of-ada/pytest-1/test_x0/out/a.txt", "read /tmp/pytest-of-bob/pytest-22/test_x1/out/a.txt"),
        ("read /tmp/tmpk3x9_q2a/a.txt", "read /var/folders/zz/abc123/T/tmpabcdefgh/a.txt"),
        (r"C:\Users\ada\AppData\Local\Temp\tmpq1w2e3r4\a.txt", r"C:\Users\bob\AppData\Local\Temp\tmpzzzzzzzz\a.txt"),
        ("wrote /tmp/tmpk3x9q2ab.json", "wrote /tmp/tmpabcdefgh.json"),
        ("Sat, 21 Nov 2026 06:58:38 GMT", "Sun, 22 Nov 2026 16:00:00 GMT"),
        ("07:00:01.5 INFO done", "23:59:59 INFO done"),
        ("3 passed in 0.12s", "3 passed in 14.50s"),
        ("took 12 ms, latency=5s", "took 7 ms, latency=90s"),
        ("http://localhost:43121/x 127.0.0.1:8000", "http://localhost:5000/x 127.0.0.1:65000"),
        ("listening on port 54321, pid 12", "listening on port 40000, pid 99999"),
        ("commit 9f86d081884c7d659a2feaa0c55ad015", "commit a3bf4f1b2b0b822cd15d6c15b0f00a08"),
        ("in Thread-12 and ThreadPoolExecutor-0_3", "in Thread-1 and ThreadPoolExecutor-2_1"),
        ({"pid": 5, "created": 1795233600, "request_id": "a"}, {"pid": 6, "created": 1795239999.5, "request_id": "b"}),
        ('{"a": 1, "b": "0x7f0012345678"}', '{"b": "0x7fffffffff00", "a": 1}'),
        ({"x": 1, "y": {"a": 1, "b": 2}}, {"y": {"b": 2, "a": 1}, "x": 1}),
        ({"tool_call_id": "call_a8Xk29fLq0"}, {"tool_call_id": "call_Zz7Yy6Xx5W"}),
        ({"created_at": 5, "latency_ms": 1.5}, {"created_at": 6, "latency_ms": 9.5}),
    ],
)
def test_volatile_values_are_not_compared_and_stay_in_the_trace(old, new):
    before, after = run(("a", old, old)), run(("a", new, new))
    assert not before.diff(after)
    assert before.spans[1].input == old


@pytest.mark.parametrize(
    ("old", "new"),
    [("5", 5), (1, True), ("call_of_duty", "call_of_nature"), ({"user_id": 1}, {"user_id": 2}), ([1], [1, 2]), ({}, {"a": None}),
     ("read /tmp/pytest-1/a.txt", "read /tmp/pytest-1/b.txt"), ("port 5432", "port 5433"), ("sleep 5s", "sleep 9s"),
     ("on 2026-01-05", "on 2026-01-06"), ("3 files in 2 folders", "4 files in 2 folders"), ("deadbeef", "cafebabe"),
     ({"created": True}, {"created": False}), ({"updated": 3}, {"updated": 4}), ({"timeout_ms": 5}, {"timeout_ms": 6}),
     ('{"a": 1}', '{"a": 2}'), ("db.example:8080", "db.example:8081"), ("/srv/a1/x", "/srv/a2/x")],
)  # fmt: skip
def test_real_differences_are_not_treated_as_volatile(old, new):
    assert seen(run(("a", 0, old)).diff(run(("a", 0, new)))) == [("changed", "a")]


def test_ignored_members_do_not_count_at_any_depth():
    before, after = run(("a", {"x": [{"seed": 1}]}, "old")), run(("a", {"x": [{"seed": 2}]}, "new"))
    assert before.diff(after)
    assert not before.diff(after, ignore={"seed", "output"})


def test_an_error_a_status_and_a_model_are_compared():
    failed = {"name": "a", "status": "error", "error": {"type": "KeyError", "message": "k", "traceback": "x"}}
    difference = run({"name": "a", "meta": {"model": "m-1", "input_tokens": 5}}).diff(
        run({**failed, "meta": {"model": "m-2", "input_tokens": 9}})
    )
    assert difference.changes[0].facts == (
        'status: "ok" -> "error"',
        'error: null -> "KeyError: k"',
        'meta.model: "m-1" -> "m-2"',
    )
    assert (difference.before.tokens, difference.after.tokens) == (5, 9)
    assert difference.after.errors == 1


def test_tokens_of_a_call_around_counted_calls_are_not_counted_twice():
    inner = {"name": "llm", "meta": {"input_tokens": 5, "output_tokens": 1, "cost_usd": 0.5}}
    totals = run(inner, inner, meta={"input_tokens": 10, "output_tokens": 2, "cost_usd": 1.0}).diff(run()).before
    assert (totals.calls, totals.tokens, totals.cost_usd) == (3, 12, 1.0)


def test_ten_thousand_levels_and_ten_thousand_equal_calls_are_compared():
    deep = [Span(f"{n + 1:016x}", f"{n:016x}" if n else None, f"level {n}") for n in range(10_000)]
    other = [*deep[:-1], Span(deep[-1].id, deep[-1].parent_id, "last")]
    difference = TraceResult(spans=deep, is_frozen=True).diff(TraceResult(spans=other, is_frozen=True))
    assert [change.what for change in difference.changes] == ["removed", "added"]
    wide = [("same", 1)] * 10_000
    assert len(run(*wide).diff(run(("x", 0), *wide, ("y", 0))).changes) == 2


def test_values_deeper_than_any_recorded_one_are_compared():
    def deep(end):
        value = end
        for _ in range(200):
            value = [value]
        return value

    assert normal(deep(1)) != normal(deep(2))
    assert normal(deep(1)) == normal(deep(1))


@pytest.mark.parametrize(
    "text", ["C:\\" * 20_000 + "Temp", "1a" * 30_000, "/tmp/a" * 9_000, "call_" * 12_000 + "1", "in 1 " * 9_000]
)
def test_no_text_takes_quadratic_time(text):
    start = time.process_time()
    normal(text)
    assert time.process_time() - start < 1.0


def test_recorded_text_is_text_in_output_and_page():
    attack = "</pre><script>alert(1)</script>\x1b[31m\ud800"
    difference = run(("a", 1, attack), name=attack).diff(run(("a", 1, "x"), (attack, 2)))
    page = difference.to_html()
    assert "<script>alert" not in page
    assert "default-src 'none'" in page
    for text in (page, difference.to_text()):
        assert "\x1b" not in text
        text.encode("utf-8")


@pytest.fixture
def files(tmp_path):
    """Return a function that writes traces as golden.json and new.json and returns their paths."""

    def write(golden, new):
        paths = [tmp_path / "golden.json", tmp_path / "new.json"]
        golden.to_json(paths[0])
        new.to_json(paths[1])
        return [str(path) for path in paths]

    return write


def test_diff_prints_what_changed_and_writes_a_page_only_on_request(files, capsys, tmp_path):
    paths = files(run(("a", 1, 2)), run(("a", 1, 3)))
    assert main(["diff", *paths]) == 1
    assert not (tmp_path / "new.diff.html").exists()
    assert main(["diff", *paths, "--ignore", "output", "--html", str(tmp_path / "d.html")]) == 0
    assert (tmp_path / "d.html").exists()
    assert "no change" in capsys.readouterr().out


def test_a_missing_file_is_an_error(files, capsys, tmp_path):
    golden, _ = files(run(("a", 1, 2)), run(("a", 1, 3)))
    assert main(["diff", golden, str(tmp_path / "none.json")]) == 2
    assert "there is no such file" in capsys.readouterr().err
