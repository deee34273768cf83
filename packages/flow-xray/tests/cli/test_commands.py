"""The command line: view, run, export, and their errors."""

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from flow_xray import TraceResult, trace
from flow_xray._cli.main import main
from flow_xray._data.format import human_cost, human_duration


@pytest.fixture
def journal(tmp_path):
    path = tmp_path / "demo.xray"
    with trace.capture(name="demo", journal=path):
        with trace.span("chat", kind="llm"):
            pass
        with pytest.raises(ValueError), trace.span("tool", kind="tool"):
            raise ValueError("no")
    return path


def test_view_writes_the_page_next_to_the_journal_and_prints_a_summary(journal, capsys):
    assert main(["view", str(journal), "--format", "text"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("demo  error  2 spans, 1 model call, 1 error, ")
    assert f"page: {journal.with_suffix('.html')}" in out
    assert err == ""
    assert journal.with_suffix(".html").read_text().startswith("<!doctype html>")


def test_view_into_a_pipe_prints_json(journal, capsys, tmp_path):
    assert main(["view", str(journal), "--html", str(tmp_path / "p.html"), "--json", str(tmp_path / "p.json")]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["name"], facts["spans"], facts["errors"], facts["html"]) == ("demo", 2, 1, str(tmp_path / "p.html"))
    assert len(TraceResult.from_json((tmp_path / "p.json").read_text()).spans) == 2


def test_view_reads_a_json_trace(tmp_path, capsys, make_span):
    TraceResult(name="hand", spans=[make_span()]).to_json(tmp_path / "t.json")
    assert main(["view", str(tmp_path / "t.json"), "--format", "text"]) == 0
    assert capsys.readouterr().out.startswith("hand  ok  1 span, 1.00 s")


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (None, 2, "there is no such file"),
        (b"", 8, "it is empty"),
        (b"\x00\x01", 8, "its format is unknown"),
        (b"\xff\xfe{", 8, "its format is unknown"),
        (b"[1, 2]", 8, "JSON of another kind"),
        (b"[]", 8, "JSON of another kind"),
        (b'{"format":"flow-xray/1","spans":[{"id":"1"', 8, "x.xray': because it is not JSON"),
        (b'{"format":"flow-xray/1","spans":[{"id":"1"}]}', 8, "it is damaged"),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"nam', 8, "it is not JSON"),
        (
            b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "x"}, 7]}]}]}',
            8,
            "no span that can be read",
        ),
        (b'{"resourceSpans": 7}', 8, "no span that can be read"),
        (b'{"traceEvents": [{"ph": "C", "ts": 1}, 7]}', 8, "no event in it has a begin and an end"),
        (b'44:{"t":"flow-xray","version":99,"session":"s"}\n', 8, "its version is 99"),
        (b"{", 8, "it is not JSON"),
        (b'{"a": 1}', 8, "JSON of another kind"),
        (b'{"format": "flow-xray/9"}', 8, "it is 'flow-xray/9'"),
    ],
)
def test_an_unreadable_file_is_a_one_line_error(tmp_path, capsys, content, code, words):
    path = tmp_path / "x.xray"
    if content is not None:
        path.write_bytes(content)
    assert main(["view", str(path)]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert err.count("\n") == 1


def test_a_folder_and_an_unwritable_page_are_errors(tmp_path, capsys, journal):
    assert main(["view", str(tmp_path)]) == 8
    assert main(["view", str(journal), str(tmp_path)]) == 8
    assert main(["view", str(journal), "--html", str(tmp_path / "no" / "p.html")]) == 1
    err = capsys.readouterr().err
    assert "it is a folder, but not of a TraceStore" in err
    assert "Is a directory" in err
    assert "cannot write" in err


def test_a_guessed_name_does_not_replace_a_file_of_another_kind(journal, capsys):
    other = journal.with_suffix(".html")
    other.write_text("<h1>my page</h1>")
    assert main(["view", str(journal)]) == 1
    assert other.read_text() == "<h1>my page</h1>"
    assert "Give another path with --html" in capsys.readouterr().err


def test_a_journal_without_its_end_is_interrupted_also_when_every_call_had_ended(tmp_path, capsys):
    path = tmp_path / "run.xray"
    with trace.capture(name="demo", journal=path), trace.span("work"):
        pass
    whole = path.read_text()
    assert main(["view", str(path), "--format", "text"]) == 0
    assert capsys.readouterr().out.startswith("demo  ok  1 span")
    path.write_text("".join(line for line in whole.splitlines(keepends=True) if '"t":"close"' not in line))
    assert main(["view", str(path), "--format", "text"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("demo  interrupted  1 span")
    assert "note: the journal has no end: its process was killed, or is still running\n" in out


@pytest.mark.parametrize("command", ["stats", "report", "analyze"])
def test_numbers_of_a_damaged_file_come_with_a_note(journal, capsys, command):
    assert main([command, str(journal)]) == 0
    assert capsys.readouterr().err == ""
    content = journal.read_bytes()
    journal.write_bytes(content[:-9] + b"\n" + content.splitlines()[0] + b"\n")
    assert main([command, str(journal)]) == 0
    assert "note: 1 record was damaged and left out\n" in capsys.readouterr().err


def test_usage_is_shown_without_arguments(capsys):
    assert main([]) == 2
    assert "usage: flow-xray" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["run", "x.py", "word", "--flag"],
            "'word' and '--flag' are not options of run. Put arguments of the script after --.",
        ),
        (["view", "x", "--flag"], "unrecognized arguments: --flag"),
        (["view"], "required: FILE"),
        (["stats", "x", "--top", "0"], "not a number of 1 or more"),
        (["bogus"], "invalid choice: 'bogus'"),
        (["view", "x", "--", "y"], "cannot take arguments after --"),
    ],
)
def test_wrong_usage_is_a_one_line_error(capsys, arguments, words):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    err = capsys.readouterr().err
    assert (caught.value.code, words in err, err.count("\n"), err[-1]) == (2, True, 1, "\n"), err


SCRIPT = """
import sys
from flow_xray import trace

@trace(kind="tool")
def work(n):
    return n

if __name__ == "__main__":
    print("argv", sys.argv[1:])
    work(1)
    {end}
"""


def run(tmp_path, end, *arguments, before=()):
    (tmp_path / "script.py").write_text(SCRIPT.format(end=end))
    command = [sys.executable, "-m", "flow_xray", "run", *before, "script.py", "--json", "t.json", "--", *arguments]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)


def test_run_runs_a_script_as_main_with_its_arguments(tmp_path):
    done = run(tmp_path, "pass", "-x", "--html", "y")
    assert done.returncode == 0
    assert done.stdout == "argv ['-x', '--html', 'y']\n"
    assert "script.py  ok  2 spans" in done.stderr
    names = [span.name for span in TraceResult.from_json((tmp_path / "t.json").read_text()).spans]
    assert names == ["script.py", "work"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["script.py", "t.json", "trace.html"]


@pytest.mark.parametrize(
    ("end", "code", "status", "words"),
    [
        ("sys.exit(7)", 7, "error", ""),
        ("sys.exit()", 0, "cancelled", ""),
        ("sys.exit('bye')", 1, "error", "bye\n"),
        ("raise ValueError('broken')", 1, "error", 'script.py", line 12'),
        ("raise KeyboardInterrupt", 130, "cancelled", ""),
    ],
)
def test_run_writes_the_trace_whatever_the_script_does(tmp_path, end, code, status, words):
    done = run(tmp_path, end)
    assert done.returncode == code
    assert words in done.stderr
    assert "runpy" not in done.stderr
    assert "_run_script" not in done.stderr
    result = TraceResult.from_json((tmp_path / "t.json").read_text())
    assert result.status == status
    assert result.spans[1].name == "work"
    assert (tmp_path / "trace.html").exists()


def test_run_runs_a_module(tmp_path):
    (tmp_path / "tool_module.py").write_text("import sys; print(__name__, sys.argv[1:])")
    command = [sys.executable, "-m", "flow_xray", "run", "-m", "tool_module", "--", "a"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "__main__ ['a']\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "it needs either a script or -m MODULE"),
        (["x.py", "-m", "y"], "it needs either a script or -m MODULE"),
        (["none.py"], "there is no such file"),
    ],
)
def test_run_reports_what_is_missing(capsys, arguments, words):
    assert main(["run", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_killed_script_leaves_its_journal_and_a_terminated_one_its_page(tmp_path):
    for how, code in ((signal.SIGTERM, 143), (signal.SIGKILL, -9)):
        (tmp_path / "script.py").write_text(
            SCRIPT.format(end="print('ready', flush=True); import time; time.sleep(60)")
        )
        command = [sys.executable, "-u", "-m", "flow_xray", "run", "script.py"]
        with subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            while "ready" not in process.stdout.readline():
                pass
            process.send_signal(how)
            process.communicate(timeout=30)
        assert process.returncode == code
        assert (tmp_path / "trace.html").exists()
        assert (tmp_path / "trace.xray").exists() is (how == signal.SIGKILL)
    assert main(["view", str(tmp_path / "trace.xray"), "--html", str(tmp_path / "killed.html")]) == 0


def test_help_starts_without_loading_what_it_does_not_need():
    code = "import sys; sys.argv=['flow-xray','--help']; from flow_xray.__main__ import main\ntry: main()\nexcept SystemExit: pass\nprint([m for m in ('asyncio','hashlib','gzip','runpy','traceback','concurrent.futures','logging') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
        timeout=60,
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [
        (0.004, "4 µs"),
        (4, "4 ms"),
        (1840, "1.84 s"),
        (11_900, "11.9 s"),
        (252_000, "4 m 12 s"),
        (7_800_000, "2 h 10 m"),
    ],
)
def test_durations_are_in_short_form(milliseconds, words):
    assert human_duration(milliseconds) == words


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("is_buffered", [True, False])
@pytest.mark.parametrize("command", [["--help"], ["run", "--help"], ["view"], ["export", "--to", "json"]])
def test_a_stdout_that_is_full_is_one_clear_line(journal, tmp_path, command, is_buffered):
    given = command if "--help" in command else [*command, str(journal)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "" if is_buffered else "1"}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "flow_xray", *given],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            env=environment,
        )
    assert done.returncode == 1
    assert done.stderr == "cannot write to stdout: because No space left on device. Give another path.\n"


def test_a_page_never_replaces_a_device(journal):
    assert main(["view", str(journal), "--html", "/dev/null"]) == 0
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.parametrize("width", [60, 120])
def test_help_fits_the_terminal(width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    for command in ([], ["run"], ["view"], ["export"], ["check"]):
        with pytest.raises(SystemExit):
            main([*command, "--help"])
        lines = capsys.readouterr().out.splitlines()
        too_long = [line for line in lines if len(line) > width and len(line.split()) > 2]  # an option may be long
        assert too_long == []


@pytest.mark.parametrize(
    ("usd", "words"),
    [
        (0, "$0.0000"),
        (0.000045, "<$0.0001"),
        (0.0075, "$0.0075"),
        (0.99996, "$1.0000"),
        (4.0142, "$4.01"),
        (12_345.6, "$12,345.60"),
    ],
)
def test_a_cost_is_never_shown_as_zero_or_with_an_exponent(usd, words):
    assert human_cost(usd) == words
