"""Statistics by kind and name, the table, and the report for an issue."""

import json
import os
import re
import subprocess
import sys

import pytest
from flow_xray import Span, TraceResult
from flow_xray._analysis.findings import analyze
from flow_xray._analysis.report import code, report_of
from flow_xray._analysis.stats import quantile, stats_of
from flow_xray._cli.main import main

MS = 1_000_000


def test_a_row_counts_calls_errors_times_tokens_and_cost(make_span):
    root = make_span("main", kind="agent", at_s=0, duration_ns=1_000 * MS)
    calls = [
        make_span("ask", parent=root, kind="llm", at_s=at, duration_ns=300 * MS, status=status, meta=meta)
        for at, status, meta in (
            (0.1, "ok", {"model": "m", "input_tokens": 10, "output_tokens": 2, "cost_usd": 0.5}),
            (0.2, "error", {"model": "m", "input_tokens": 5}),
        )
    ]
    found = stats_of(TraceResult(spans=[root, *calls], is_frozen=True))
    rows = {row.name: row for row in found.rows}
    assert rows["main"].self_ms == 600, "the calls overlap: together they cover 0.1 s to 0.5 s"
    ask = rows["ask"]
    assert (ask.calls, ask.errors, ask.total_ms, ask.self_ms) == (2, 1, 600, 600)
    assert (ask.p50_ms, ask.p95_ms, ask.input_tokens, ask.output_tokens, ask.cost_usd) == (300, 300, 15, 2, 0.5)
    (model,) = found.models
    assert (model.model, model.calls, model.unpriced, model.cost_usd) == ("m", 2, 1, 0.5)


def test_a_call_inside_the_same_call_counts_its_time_once(make_span):
    outer = make_span("walk", at_s=0, duration_ns=100 * MS)
    other = make_span("between", parent=outer, at_s=0, duration_ns=90 * MS)
    inner = make_span("walk", parent=other, at_s=0, duration_ns=80 * MS)
    beside = make_span("walk", at_s=5, duration_ns=7 * MS)
    rows = {row.name: row for row in stats_of(TraceResult(spans=[outer, other, inner, beside], is_frozen=True)).rows}
    assert (rows["walk"].total_ms, rows["walk"].self_ms, rows["walk"].calls) == (107, 97, 3)


def test_open_calls_have_no_time_and_an_empty_trace_has_no_rows(make_span):
    (row,) = stats_of(TraceResult(spans=[make_span("x", duration_ns=None, status="interrupted")])).rows
    assert (row.calls, row.total_ms, row.p95_ms) == (1, 0, 0)
    assert stats_of(TraceResult()).rows == ()


@pytest.mark.parametrize(
    ("numbers", "share", "value"), [([], 0.5, 0), ([7], 0.95, 7), ([1, 3], 0.5, 2), (list(range(101)), 0.95, 95)]
)
def test_quantiles_are_interpolated_between_neighbours(numbers, share, value):
    assert quantile(numbers, share) == value


ATTACK = "`` | @ada <img src=x onerror=1> [a](javascript:1) \x1b[31m \u202e \ud800 ``` \n# head"


@pytest.fixture
def attacked(make_span):
    root = make_span(ATTACK, kind=ATTACK)
    spans = [root]
    for n in range(3):
        error = {"type": ATTACK, "message": ATTACK, "traceback": f"line\n{ATTACK}"}
        spans.append(make_span("ask", parent=root, kind="llm", status="error", error=error, meta={"model": ATTACK}))
        spans.append(make_span("tool", parent=root, kind="tool", input={"n": n}))
    return TraceResult(name=ATTACK, spans=spans, is_frozen=True)


def test_recorded_text_is_inert_in_a_report(attacked):
    text = report_of(attacked, stats_of(attacked), analyze(attacked))
    text.encode("utf-8")
    assert not [char for char in text if not char.isprintable() and char != "\n"]
    assert [line for line in text.splitlines() if line == "# head"] == ["# head"] * 3, "only inside fenced blocks"
    outside = re.sub(r"^(`{3,})\n.*?^\1$", "", text, flags=re.DOTALL | re.MULTILINE)
    assert "# head" not in outside.splitlines()
    for title in ("What ran", "Errors", "Models", "Where the time went", "Findings"):
        assert f"## {title}" in text
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.replace("\\|", "").count("|") == 7, line


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a", "`a`"), ("a`b", "``a`b``"), ("`", "`` ` ``"), ("", "`  `"), ("a\nb", "`a b`"), ("``", "``` `` ```")],
)
def test_a_code_span_holds_any_text(text, shown):
    assert code(text) == shown


def test_a_report_is_short_whatever_the_trace_is():
    spans = [Span("0" * 15 + "1", None, "main")]
    for n in range(30_000):
        error = {"type": "E", "message": "m" * 500, "traceback": "t\n" * 50}
        spans.append(Span(f"{n + 2:016x}", f"{1:016x}", f"n{n % 999}", "tool", n, 5, "error", {"n": n}, None, error))
    trace = TraceResult(spans=spans, is_frozen=True)
    text = report_of(trace, stats_of(trace), analyze(trace))
    assert len(text) < 61_000
    assert "more" in text


def test_a_report_that_is_cut_leaves_no_block_open():
    errors = [
        Span(
            f"{n + 1:016x}",
            None,
            f"n{n}",
            "tool",
            n,
            5,
            "error",
            n,
            None,
            {"type": "E", "message": "m", "traceback": t},
        )
        for n, t in enumerate(["`" * 20 + "x" * 9_000 + "\n\ny"] * 9)
    ]
    trace = TraceResult(spans=errors, is_frozen=True)
    text = report_of(trace, stats_of(trace), ())
    assert text.endswith("(cut here: an issue cannot be longer)\n")
    assert "`" * 21 + "\n\n(cut here" in text or text.count("\n" + "`" * 21 + "\n") % 2 == 0


@pytest.fixture
def file(tmp_path, make_span):
    path = tmp_path / "t.json"
    root = make_span("main", kind="agent")
    ask = make_span("ask", parent=root, kind="llm", meta={"model": "none", "input_tokens": 1_200, "output_tokens": 3})
    TraceResult(name="demo", spans=[root, ask, *(make_span(f"f{n}") for n in range(9))]).to_json(path)
    return str(path)


def test_the_table_omits_empty_columns_and_counts_omitted_rows(file, capsys):
    assert main(["stats", file, "--top", "3", "--sort", "tokens"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["kind", "name", "calls", "total", "self", "p50", "p95", "tokens"]
    assert lines[1].split()[:3] == ["llm", "ask", "1"]
    assert lines[1].endswith("1,203")
    assert lines[4] == "… 8 more rows; --top 11 shows them"
    assert lines[-1].startswith("11 calls, 0 errors, ")


def test_stats_as_json_have_rows_models_totals_and_findings(file, capsys):
    assert main(["stats", file, "--output", "json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert set(whole) == {"name", "status", "totals", "rows", "models", "findings"}
    assert whole["totals"]["tokens"] == 1_203


def test_a_report_goes_to_stdout_or_to_a_file(file, capsys, tmp_path):
    assert main(["report", file]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# `demo`\n")
    assert main(["report", file, "-o", str(tmp_path / "r.md")]) == 0
    assert (tmp_path / "r.md").read_text() == text
    assert main(["report", file, "-o", str(tmp_path / "no" / "r.md")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("command", ["stats", "report", "analyze"])
def test_bad_input_is_a_one_line_error(command, tmp_path, capsys):
    (tmp_path / "x.json").write_text("{")
    for name, number in (("none.json", 2), ("x.json", 8)):
        assert main([command, str(tmp_path / name)]) == number
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_an_output_encoding_without_a_character_escapes_it(file, encoding):
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    command = [sys.executable, "-m", "flow_xray", "stats", file]
    done = subprocess.run(command, capture_output=True, env=environment, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"1,203" in done.stdout


def test_an_invalid_number_of_rows_is_an_error(file, capsys):
    for given in ("0", "-1", "x"):
        with pytest.raises(SystemExit) as caught:
            main(["stats", file, f"--top={given}"])
        assert caught.value.code == 2
        assert "because it is not a number of 1 or more" in capsys.readouterr().err
