"""A run and its source: what ran, what could have run, callers, blast radius, branches."""

import json
import os
import subprocess
import sys

import pytest
from flow_xray import Span, TraceResult
from flow_xray._cli.main import main
from flow_xray._source.coverage import coverage_of
from flow_xray._source.index import SourceIndex

pytestmark = pytest.mark.interpreter

APP = """
import functools
from flow_xray import trace
from pack.tools import search, REGISTRY
import pack.tools as kit
from pack import tools

def plan(question):
    return kit.fetch(question)

@trace(kind="agent")
def agent(question):
    if question == "password=hunter2abc":
        return tools.remove()
    elif len(question) > 3:
        found = search(question)
    else:
        # nothing to search
        found = None
    plan(question)
    REGISTRY["x"](question)
    try:
        found.append(1)
    except AttributeError:
        retry(question)
    for each in []:
        print(each)
    while False: print(1)
    match question:
        case "hello":
            found = 1
        case _:
            found = 2
    return found

@trace
def retry(question): ...

if __name__ == "__main__":
    import sys
    with trace.capture(name="demo", lines="lines" in sys.argv) as session:
        agent("hello")
    session.result().to_json("t.json")
"""
TOOLS = """
from __future__ import annotations
from flow_xray import trace

class Base:
    def inner(self):
        return 1

class Box(Base):
    def __init__(self, word):
        self.word = word

    @trace(kind="tool")
    def open(self):
        return self.inner()

@trace(kind="tool")
def search(question):
    def local():
        return Box(question)
    return local().open()

@trace
def fetch(question): ...
@trace
def remove(): ...
@trace
def hidden(question): ...

REGISTRY = {"x": hidden}
"""


@pytest.fixture(scope="module", params=["", "lines"])
def project(request, tmp_path_factory):
    """A project and the trace of its run, without and with lines, without coverage tools."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "pack").mkdir()
    (folder / "pack" / "__init__.py").write_text("")
    (folder / "pack" / "tools.py").write_text(TOOLS)
    (folder / "app.py").write_text(APP)
    plain = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
    subprocess.run([sys.executable, "app.py", request.param], cwd=folder, env=plain, check=True, timeout=60)
    return folder, TraceResult.from_json((folder / "t.json").read_text()), bool(request.param)


def named(context):
    """Edges by the names of their ends."""
    names = {node.id: node.name for node in context.nodes()}
    return {(names[edge.source], names[edge.target], edge.how) for edge in context.edges}


def test_edges_are_executed_possible_or_runtime(project):
    folder, result, _ = project
    context = coverage_of(result, [str(folder)])
    edges = named(context)
    assert edges >= {
        ("agent", "search", "executed"),
        ("agent", "plan", "executed"),
        ("plan", "fetch", "executed"),
        ("search", "Box.open", "executed"),
        ("agent", "hidden", "runtime"),
        ("agent", "remove", "possible"),
        ("search.local", "Box.__init__", "possible"),
        ("Box.open", "Base.inner", "possible"),
        ("agent", "retry", "executed"),
    }
    assert {node.name for node in context.nodes() if node.executed} == {
        *("agent", "search", "Box.open", "fetch", "hidden", "plan", "retry"),
    }
    assert {edge.how for edge in context.edges if edge.target.endswith("remove")} <= {"possible"}


def test_branches_that_were_not_taken_are_known_from_lines_or_from_calls(project):
    folder, result, has_lines = project
    facts = {(each.text, each.taken, each.how) for each in coverage_of(result, [str(folder)]).branches}
    how = "lines" if has_lines else "calls"
    assert {
        ('if question == "password=[redacted]":', False, how),
        ("elif len(question) > 3:", True, how),
        ("except AttributeError:", True, how),
    } <= facts
    if has_lines:
        assert facts >= {
            ("else:", False, how),
            ("for each in []:", False, how),
            ('case "hello":', True, how),
            ("case _:", False, how),
        }
        assert not [text for text, _, _ in facts if text.startswith("while")], "one line cannot be distinguished"
    else:
        assert len(facts) == 3, "calls say nothing about the others"


def test_functions_have_the_ids_of_their_spans_also_from_another_machine(project, tmp_path):
    folder, result, _ = project
    elsewhere = TraceResult(name="x", is_frozen=True, spans=[
        Span(each.id, each.parent_id, each.name, each.kind, code=each.code.replace(str(folder), "/ci/build/7"))
        for each in result.spans
    ])  # fmt: skip
    whole = coverage_of(elsewhere, [str(folder)]).as_json()
    assert {span.code for span in elsewhere.spans} <= {node["id"] for node in whole["nodes"]}
    assert whole["notes"] == []
    json.dumps(whole)


def test_functions_are_found_by_name_when_the_source_has_changed(project, tmp_path):
    folder, result, _ = project
    (tmp_path / "app.py").write_text("# a line\n# and another\n" + APP)
    context = coverage_of(result, [str(tmp_path)])
    assert {context.index.functions[each].name for each in context.executed} == {"agent", "retry"}
    assert "the source has changed" in context.notes[0]


def test_blast_radius_is_everything_that_may_call_a_function(project):
    folder, result, _ = project
    context = coverage_of(result, [str(folder)])
    (inner,) = context.find("inner")
    radius = {context.index.functions[each].name: hops for each, hops in context.reach(inner.id, back=True).items()}
    assert radius == {"Box.open": 1, "search": 2, "agent": 3}
    (hidden,) = context.find("hidden")
    assert len(context.reach(hidden.id, back=True)) == 1, "through the call that only the run knows"


def test_unreadable_source_is_omitted_with_a_note(tmp_path):
    (tmp_path / "good.py").write_text("def a(): b()\ndef b(): return '\\( warned about'\n")
    (tmp_path / "bad.py").write_text("def (:")
    (tmp_path / "nul.py").write_bytes(b"\0\xff")
    (tmp_path / "deep.py").write_text("x = " + "(" * 5_000 + ")" * 5_000)
    (tmp_path / "latin.py").write_bytes(b"# -*- coding: latin-1 -*-\ndef caf\xe9(): ...\n")
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "x.py").write_text("def hidden(): ...")
    index = SourceIndex([str(tmp_path)])
    assert {each.name for each in index.functions.values()} == {"a", "b", "café"}
    assert len(index.notes) == 3
    context = coverage_of(
        TraceResult(spans=[Span("a" * 16, None, "x", code="no line")], is_frozen=True), [str(tmp_path)]
    )
    assert context.notes[-1] == "no span of this trace is in this source"
    assert context.as_json()["nodes"] == []


@pytest.mark.parametrize(
    ("source", "calls"),
    [
        ("from . import b\ndef f(): b.g()", {"g"}),
        ("from .b import g as h\ndef f(): h()", {"g"}),
        ("from pack.b import *\nimport pack.b\ndef f(): pack.b.g()", {"g"}),
        ("def f(): run([g2])\ndef g2(): ...", {"g2"}),
        (
            "def f():\n    @deco\n    def inner(): g2()\n    return inner\ndef g2(): ...\ndef deco(x): ...",
            {"f.inner", "deco"},
        ),
        ("class A:\n    def f(self): self.f()\n", {"A.f"}),
        ("class A(B):\n    def f(self): cls.g()\nfrom .b import B", set()),
        ("from .b import B\nclass A(B):\n    def f(self): self.m()", {"B.m"}),
        ("def f(x): x.m()", {"B.m"}),
        ("def f(x): x.m", set()),
        ("if True:\n    def f(): g2()\nelse:\n    pass\ntry:\n    pass\nfinally:\n    def g2(): ...", {"g2"}),
        ("import os\ndef f(): os.path.join()\ndef join(): ...", set()),
        ("from .b import nothing\ndef f(): nothing()", set()),
    ],
)
def test_references_are_resolved(tmp_path, source, calls):
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("")
    (tmp_path / "pack" / "a.py").write_text(source)
    (tmp_path / "pack" / "b.py").write_text("def g(): ...\nclass B:\n    def m(self): ...\n")
    index = SourceIndex([str(tmp_path)])
    (function,) = [each for each in index.functions.values() if each.name in ("f", "A.f")]
    assert {index.functions[each].name for each in function.calls} == calls


def test_the_command_shows_the_whole_or_one_function(project, capsys, monkeypatch):
    folder, _, has_lines = project
    monkeypatch.chdir(folder)
    assert main(["context", "t.json", "--source", "."]) == 0
    out = capsys.readouterr().out
    assert "only at run time\n  agent -> hidden\n" in out
    assert "not taken\n  app.py:13  if question ==" in out
    assert ("app.py:17  else:" in out) is has_lines
    assert main(["context", "t.json", "--source", ".", "--function", "search"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"search  pack{os.sep}tools.py:17  ran\n")
    assert "callers\n  executed  agent  app.py:11\n" in out
    assert "blast radius: 1 functions may call it" in out
    assert main(["context", "t.json", "--source", ".", "--function", "app.py:11", "--output", "json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["function"]["name"] == "agent"
    assert {each["how"] for each in facts["callees"]} == {"executed", "possible", "runtime"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["t.json", "--source", "nope"], "cannot read the source 'nope'"),
        (["none.json", "--source", "."], "there is no such file"),
        (["t.json", "--source", ".", "--function", "serch"], "Did you mean search"),
    ],
)
def test_bad_input_is_a_one_line_error(project, capsys, monkeypatch, arguments, words):
    monkeypatch.chdir(project[0])
    assert main(["context", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), words in err) == ("", 1, True)


def test_view_adds_the_coverage_to_the_page_and_notes_mismatches(project, capsys, monkeypatch, tmp_path):
    folder, result, _ = project
    monkeypatch.chdir(folder)
    page = tmp_path / "p.html"
    assert main(["view", "t.json", "--html", str(page), "--context", ".", "--format", "text"]) == 0
    assert 'id="x-ctx"' in page.read_text()
    assert "note:" not in capsys.readouterr().out
    assert 'id="x-ctx"' in result.to_html(source=".")
    assert 'id="x-ctx"' in result.to_html(source=[folder])
    assert 'id="x-ctx"' not in result.to_html()
    (tmp_path / "other.py").write_text("def x(): ...")
    assert main(["view", "t.json", "--html", str(page), "--context", str(tmp_path), "--format", "text"]) == 0
    assert "note: no span of this trace is in this source" in capsys.readouterr().out
    assert main(["view", "t.json", "--html", str(page), "--context", "nope"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_run_records_lines_with_the_option(tmp_path):
    (tmp_path / "script.py").write_text(
        "from flow_xray import trace\n@trace\ndef f(x):\n    if x:\n        return 1\n    else:\n        return 2\nf(0)\n"
    )
    plain = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
    command = [sys.executable, "-m", "flow_xray", "run", "script.py", "--lines", "--json", "t.json"]
    subprocess.run(command, cwd=tmp_path, env=plain, check=True, timeout=60, capture_output=True)
    context = coverage_of(TraceResult.from_json((tmp_path / "t.json").read_text()), [str(tmp_path)])
    assert [(each.text, each.taken) for each in context.branches] == [("if x:", False), ("else:", True)]
