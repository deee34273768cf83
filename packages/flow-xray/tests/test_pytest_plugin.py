"""The fixture `xray_golden` in real runs of pytest."""

import json
import os
import subprocess
import sys

import pytest

AGENT = """
from flow_xray import trace

@trace(kind="tool")
def search(query, when="2026-11-21T10:00:00Z"):
    return {"pages": [query], "took_ms": 5}

@trace(kind="llm")
def ask(messages, tokens=100):
    trace.meta(model="no-such-model", input_tokens=tokens, cost_usd=tokens / 1e6)
    return "Yes."
"""

TEST = """
from agent import ask, search
{more}

def test_agent(xray_golden):
    with xray_golden("agent"{options}):
        {body}
"""


@pytest.fixture
def project(tmp_path):
    """Return a function that runs a test with pytest and returns exit code and output."""
    (tmp_path / "agent.py").write_text(AGENT)
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\npythonpath = .\n")

    def run(body, *arguments, options="", more="", workers=False):
        (tmp_path / "test_it.py").write_text(TEST.format(body=body, options=options, more=more))
        # Loading only what is needed makes each run twice as fast; the run with workers finds the
        # entry point itself.
        plugins = ["-n2"] if workers else ["-p", "flow_xray.pytest_plugin"]
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugins, *arguments]
        environment = {**os.environ, **({} if workers else {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"})}
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, env=environment)
        return done.returncode, done.stdout + done.stderr

    return run


def test_the_first_run_explains_how_to_write_the_golden_trace_and_the_update_writes_it(project, tmp_path):
    code, out = project("search('loom')")
    assert code == 1
    assert "there is no golden trace goldens/agent.json: run `pytest --update-goldens` once" in out
    assert not (tmp_path / "goldens").exists()
    body = "search('loom', when='2026-11-21T10:00:00Z')"
    code, out = project(body, "--update-goldens")
    assert (code, "new: goldens/agent.json" in out) == (0, True)
    golden = (tmp_path / "goldens" / "agent.json").read_text()
    assert json.loads(golden)["format"] == "flow-xray/1"
    assert str(tmp_path) not in golden
    body = body.replace("2026", "2027")
    assert project(body)[0] == 0
    code, out = project(body, "--update-goldens")
    assert (code, "golden traces" in out) == (0, False)
    assert (tmp_path / "goldens" / "agent.json").read_text() == golden


def test_a_change_fails_with_the_difference_and_a_page_until_it_is_accepted(project, tmp_path):
    project("search('loom'); ask([])", "--update-goldens")
    page = tmp_path / "goldens" / "agent.diff.html"
    code, out = project("search('other'); ask([])")
    assert code == 1
    assert '~ changed search\n    input.query: "loom" -> "other"' in out
    assert f"page: {page}" in out
    assert "pytest --update-goldens" in out
    assert "Traceback" not in out
    assert page.read_text().startswith("<!doctype html>")
    page.unlink()
    page.mkdir()
    code, out = project("search('other'); ask([])")
    assert (code, '"loom" -> "other"' in out, "page: none, cannot write" in out) == (1, True, True)
    page.rmdir()
    code, out = project("search('other'); ask([])", "--update-goldens")
    assert (code, "updated: goldens/agent.json" in out, page.exists()) == (0, True, False)


def test_limits_are_checked_and_nonsense_is_refused_before_anything_runs(project):
    project("ask([])", "--update-goldens")
    assert project("ask([], tokens=109)", options=", max_tokens_increase='10%', ignore=['tokens']")[0] == 0
    code, out = project("ask([], tokens=120)", options=", max_tokens_increase='10%', limits_only=True")
    assert (code, "! tokens 100 -> 120 tokens (+20.0%), allowed +10%" in out) == (1, True)
    code, out = project("print('it ran')", options=", max_tokens_increase='much'")
    assert (code, "cannot use 'much' as a limit" in out, "it ran\n" in out) == (1, True, False)


def test_a_failing_test_shows_its_own_failure(project):
    code, out = project("assert search('a') == 1")
    assert (code, "AssertionError" in out, "golden" in out.partition("Error")[2]) == (1, True, False)


MORE = """
import pytest
from flow_xray import trace

def test_check(xray_golden):
    xray_golden.check(trace.run(search, "x"), "checked")

class TestGroup:
    @pytest.mark.parametrize("query", ["a/b", "c"])
    def test_unnamed(self, xray_golden, query):
        with xray_golden():
            search(query)
"""


@pytest.mark.slow
def test_it_works_with_workers_and_without_names(project, tmp_path):
    code, out = project("search('loom')", "--update-goldens", more=MORE, workers=True)
    assert code == 0, out
    names = [
        "agent.json",
        "checked.json",
        "test_it.TestGroup-test_unnamed-a-b.json",
        "test_it.TestGroup-test_unnamed-c.json",
    ]
    assert sorted(path.name for path in (tmp_path / "goldens").iterdir()) == names
    assert out.count("new: goldens/") == 4
    code, out = project("search('soap')", more=MORE, workers=True)
    assert (code, "1 failed, 3 passed" in out) == (1, True)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../up", "is not a file name"),
        ("", "is not a file name"),
        ("agent", "test_agent has a golden trace of this name"),
    ],
)
def test_a_name_must_be_a_unique_file_name(project, name, words):
    more = f"def test_z(xray_golden):\n    with xray_golden({name!r}):\n        search('z')\n"
    body = "search('loom')\n\n" + more
    code, out = project(body, "--update-goldens")
    assert (code, words in out) == (1, True), out


def test_two_different_recordings_of_one_test_cannot_share_a_golden(project):
    again = "search('loom')\n    with xray_golden('agent'):\n        search({!r})"
    assert project(again.format("loom"), "--update-goldens")[0] == 0
    code, out = project(again.format("soap"), "--update-goldens")
    assert (code, '"loom" -> "soap"' in out) == (1, True)
    assert "give this one another name" in out


def test_a_broken_golden_trace_is_a_one_line_error(project, tmp_path):
    (tmp_path / "goldens").mkdir()
    (tmp_path / "goldens" / "agent.json").write_text("{")
    code, out = project("search('loom')")
    words = "cannot read the golden trace goldens/agent.json: cannot read the trace: because it is not JSON"
    assert (code, words in out, "direct cause" in out, "During handling" in out) == (1, True, False, False)


def test_the_plugin_loads_nothing_until_it_is_used():
    code = "import sys, flow_xray.pytest_plugin; print([m for m in sys.modules if m in ('flow_xray._compare.golden', 'flow_xray._compare.diff', 'difflib')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout in ("[]\n", "['difflib']\n")  # pytest itself may load difflib
