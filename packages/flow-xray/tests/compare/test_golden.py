"""`flow-xray check`: failures, passes, and the golden trace file."""

import json

import pytest
from flow_xray import Span, TraceResult, trace
from flow_xray._cli.main import main
from flow_xray._compare.golden import Allowed, check_against, golden_text


def run(*calls, **root):
    """A root with one call after the other below it, each a dict of fields."""
    spans = [Span(f"{1:016x}", None, "main", "agent", 0, 10**9, **root)]
    for n, call in enumerate(calls):
        given = {"kind": "tool", "started_at_ns": n * 1_000, "duration_ns": 900, **call}
        spans.append(Span(id=f"{n + 2:016x}", parent_id=spans[0].id, **given))
    return TraceResult(name="run", spans=spans, is_frozen=True)


def read(path, answer="text", **fields):
    return {"name": "read", "input": {"path": path}, "output": answer, **fields}


FAILED = {"status": "error", "error": {"type": "OSError", "message": "gone", "traceback": "..."}, "output": None}
GOLDEN = run(read("a"), read("b"), {"name": "ask", "kind": "llm", "input": "q", "output": "Yes."})


@pytest.fixture
def check(tmp_path, capsys):
    """Return a function that runs `flow-xray check` and returns exit code and output."""

    def call(golden, new, *arguments):
        golden.to_json(tmp_path / "golden.json")
        new.to_json(tmp_path / "new.json")
        code = main(["check", str(tmp_path / "golden.json"), str(tmp_path / "new.json"), *arguments])
        out, err = capsys.readouterr()
        assert err == ""
        return code, out

    return call


@pytest.mark.parametrize(
    ("calls", "words"),
    [
        ([read("a"), {"name": "write", "input": {"path": "b"}}, GOLDEN.spans[3]], "+ added main > write"),
        ([read("a"), read("c")], 'input.path: "b" -> "c"'),
        ([read("b"), read("a")], "moved main > read"),
        ([read("a"), read("b", "other")], 'output: "text" -> "other"'),
        ([read("a"), read("b", **FAILED)], 'error: null -> "OSError: gone"'),
        ([read("a")], "- removed main > read"),
        ([read("a"), read("b"), read("b")], "+ added main > read"),
    ],
)
def test_a_real_change_fails(check, tmp_path, calls, words):
    last = {"name": "ask", "kind": "llm", "input": "q", "output": "Yes."}
    code, out = check(GOLDEN, run(*(call for call in calls if isinstance(call, dict)), last))
    assert code == 1
    assert words in out
    assert f"page: {tmp_path / 'new.diff.html'}" in out
    assert (tmp_path / "new.diff.html").read_text().startswith("<!doctype html>")


def test_volatile_values_and_the_order_of_parallel_calls_pass(check, tmp_path):
    def one(uuid, port, names):
        at = {"started_at_ns": 0, "duration_ns": 50_000}
        text = f"run {uuid} on localhost:{port} at 2026-11-21T0{port % 9}:00:00Z in /tmp/run-{port}/a.txt"
        return run(*({"name": name, "input": {"n": name, "note": text}, **at} for name in names))

    first = one("3f2504e0-4f89-11d3-9a0c-0305e82c3301", 41_001, "abc")
    second = one("9b2504e0-4f89-11d3-9a0c-0305e82c33ff", 55_002, "cab")
    assert check(first, second)[0] == 0
    assert not (tmp_path / "new.diff.html").exists()


def test_a_recorded_program_passes_against_itself_and_fails_when_it_behaves_differently(check):
    @trace(kind="tool")
    def search(query):
        return {"query": query, "object": object()}

    def agent(order):
        return [search(query) for query in order]

    golden = trace.run(agent, ["x", "y"])
    assert check(golden, trace.run(agent, ["x", "y"]))[0] == 0
    assert check(golden, trace.run(agent, ["y", "x"]))[0] == 1


def tokens(count, cost=True):
    meta = {"input_tokens": count, "model": "no-such-model", **({"cost_usd": count / 1e6} if cost else {})}
    return run({"name": "ask", "kind": "llm", "meta": meta})


@pytest.mark.parametrize(
    ("limit", "code"),
    [
        (["--max-tokens-increase", "10%"], 1),
        (["--max-tokens-increase", "21%"], 0),
        (["--max-tokens-increase", "19"], 1),
        (["--max-tokens-increase", "20"], 0),
        (["--max-cost-increase", "0.00001"], 1),
        (["--max-cost-increase", "0.00003"], 0),
        (["--max-calls-increase", "0"], 0),
        (["--max-duration-increase", "0%"], 0),
    ],
)
def test_limits_are_a_percentage_or_a_number(check, limit, code):
    found, out = check(tokens(100), tokens(120), *limit)
    assert (found, "allowed +" in out) == (code, bool(code))


def test_a_total_that_was_zero_exceeds_any_percentage(check):
    code, out = check(tokens(0), tokens(3), "--max-tokens-increase", "900%")
    assert (code, "from nothing to 3" in out) == (1, True)


def test_an_unknown_cost_does_not_pass_a_cost_limit(check):
    code, out = check(tokens(100), tokens(100, cost=False), "--max-cost-increase", "10%")
    assert (code, "! cost of 1 model call of run is unknown" in out) == (1, True)
    assert check(tokens(100), tokens(100, cost=False))[0] == 0


def test_limits_only_ignores_changed_calls(check):
    assert check(GOLDEN, run(read("a")), "--limits-only")[0] == 0
    assert check(run(read("a")), GOLDEN, "--limits-only", "--max-calls-increase", "0")[0] == 1


def test_the_page_is_written_to_the_given_path_and_replaces_no_file_of_another_kind(check, tmp_path, capsys):
    assert check(GOLDEN, GOLDEN, "--html", str(tmp_path / "p.html"))[0] == 0
    assert (tmp_path / "p.html").exists()
    (tmp_path / "new.diff.html").write_text("mine")
    assert main(["check", str(tmp_path / "golden.json"), str(tmp_path / "new.json"), "--max-calls-increase", "0"]) == 0
    run(read("z")).to_json(tmp_path / "new.json")
    capsys.readouterr()
    assert main(["check", str(tmp_path / "golden.json"), str(tmp_path / "new.json")]) == 1
    assert "a file of another kind exists there" in capsys.readouterr().err
    assert (tmp_path / "new.diff.html").read_text() == "mine"


@pytest.mark.parametrize("limit", ["many", "-1", "nan", "inf%", "%", "", "10%%", "1e999"])
def test_a_limit_that_is_not_a_number_is_a_one_line_error(tmp_path, capsys, limit):
    GOLDEN.to_json(tmp_path / "g.json")
    assert main(["check", str(tmp_path / "g.json"), str(tmp_path / "g.json"), f"--max-tokens-increase={limit}"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), "--max-tokens-increase: cannot use" in err) == ("", 1, True)


@pytest.mark.parametrize("which", ["golden", "new"])
@pytest.mark.parametrize("content", [None, b"", b"{", b"\x00\xff", b'{"a": 1}', b'{"format": "flow-xray/9"}', b"[]"])
def test_a_file_that_is_not_a_trace_is_neither_a_pass_nor_a_change(tmp_path, capsys, which, content):
    paths = {"golden": tmp_path / "golden.json", "new": tmp_path / "new.json"}
    for path in paths.values():
        GOLDEN.to_json(path)
    if content is None:
        paths[which].unlink()
    else:
        paths[which].write_bytes(content)
    assert main(["check", str(paths["golden"]), str(paths["new"])]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)


def test_update_writes_the_golden_trace_and_leaves_it_unchanged_while_it_passes(check, tmp_path, capsys):
    golden = tmp_path / "sub" / "golden.json"
    new = tmp_path / "new.json"
    GOLDEN.to_json(new)
    assert main(["check", str(golden), str(new)]) == 2
    assert "add --update" in capsys.readouterr().err
    assert main(["check", str(golden), str(new), "--update"]) == 0
    assert "(new, 4 calls)" in capsys.readouterr().out
    before = golden.read_bytes()
    moved = run(*(read(each.input["path"], started_at_ns=9_000 + n) for n, each in enumerate(GOLDEN.spans[1:3])),
                {"name": "ask", "kind": "llm", "input": "q", "output": "Yes.", "started_at_ns": 20_000})  # fmt: skip
    moved.to_json(new)
    assert main(["check", str(golden), str(new), "--update"]) == 0
    assert "unchanged" in capsys.readouterr().out
    assert golden.read_bytes() == before
    run(read("z")).to_json(new)
    assert main(["check", str(golden), str(new), "--update"]) == 0
    assert "updated" in capsys.readouterr().out
    assert main(["check", str(golden), str(new)]) == 0


def test_a_golden_file_has_no_trace_of_this_machine_and_one_fact_a_line(make_span):
    root = make_span("main", code="/ada/x.py:3", meta={"model": "m"})
    failed = make_span("tool", parent=root, status="error", error={"type": "E", "message": "m", "origin": root.id})
    text = golden_text(TraceResult(spans=[failed, root], meta={"journal": {"processes": 1}, "pid": 7}, is_frozen=True))
    whole = json.loads(text)
    assert "ada" not in text
    assert whole["meta"] == {}
    assert [span["id"] for span in whole["spans"]] == ["0000000000000001", "0000000000000002"]
    assert whole["spans"][1]["parent_id"] == whole["spans"][1]["error"]["origin"] == "0000000000000001"
    assert text.count("\n") > 20
    assert not TraceResult.from_json(text).diff(TraceResult(spans=[failed, root], is_frozen=True))


def test_limits_are_checked_as_data():
    assert str(Allowed.of("10 %".replace(" ", ""))) == "10%"
    assert Allowed.of(5) == Allowed(5.0, False)
    with pytest.raises(ValueError, match="cannot use True as a limit"):
        Allowed.of(True)
    assert check_against(GOLDEN, GOLDEN).is_passed


def test_the_help_writes_percent_as_it_is_given(capsys):
    with pytest.raises(SystemExit):
        main(["check", "--help"])
    assert "(10%)" in capsys.readouterr().out
