"""The command prints each problem with its place; the exit code tells whether there is one."""

import json
import subprocess
import sys

import pytest
from loom.__main__ import main

GOOD = "from loom import tailrec\n@tailrec\ndef f(n): return f(n - 1) if n else 0\n"
BAD = "from loom import tailrec\n@tailrec\ndef f(n): return 1 + f(n - 1)\n"
WARNED = "from loom import tailrec\n@tailrec\ndef f(n):\n    with n: return f(n - 1)\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in {"good.py": GOOD, "bad.py": BAD, "warned.py": WARNED, "broken.py": "def f(:"}.items():
        (tmp_path / name).write_text(text)


def test_accepted_code_exits_with_0(here, capsys):
    assert main(["check", "good.py", "warned.py"]) == 0
    out = capsys.readouterr().out
    assert "warned.py:4:20: warning block-scope in 'f'" in out
    assert out.endswith("2 functions checked, 0 refused, 1 warning\n")


def test_refused_code_exits_with_1(here, capsys):
    assert main(["check", "bad.py"]) == 1
    assert "bad.py:3:22: error LT011 in 'f': " in capsys.readouterr().out


def test_the_github_format_prints_annotations(here, capsys):
    assert main(["check", "bad.py", "--format", "github"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("::error file=bad.py,line=3,col=22,title=LT011::f: ")


def test_json_holds_the_facts(here, capsys):
    assert main(["check", "good.py", "bad.py", "--format", "json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert [found["accepted"] for found in facts["functions"]] == [True, False]


def test_a_broken_file_does_not_hide_the_others(here, capsys):
    assert main(["check", "broken.py", "good.py"]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("loom-tailcalls: cannot read 'broken.py'")
    assert captured.err.count("\n") == 1
    assert "1 function checked" in captured.out


def test_explain_shows_text_source_and_json(here, capsys):
    assert main(["explain", "good.py:f", "--source"]) == 0
    out = capsys.readouterr().out
    assert "accepted: function, loop form" in out
    assert "while True:" in out
    assert main(["explain", "bad.py:f", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["refused"][0]["code"] == "LT011"


@pytest.mark.parametrize(
    "arguments", [["check", "nothing"], ["explain", "good.py:g"], ["explain", "good.py"], ["explain", ":f"]]
)
def test_wrong_usage_prints_one_line_and_exits_with_2(here, capsys, arguments):
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("loom-tailcalls: cannot ")
    assert err.count("\n") == 1


def test_no_command_is_wrong_usage(capsys):
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2


def test_help_does_not_load_the_compiler():
    text = (
        "import sys, loom.__main__\n"
        "try: loom.__main__.main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'ast', 'dataclasses', 'inspect', 'asyncio', 'loom._link'} & set(sys.modules)\n"
        "sys.exit(repr(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-S", "-c", text], capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr


def environment():
    import os
    from pathlib import Path

    import loom

    return {**os.environ, "PYTHONPATH": str(Path(loom.__file__).parents[1])}


def test_the_import_is_light():
    text = (
        "import loom, sys; print(*sorted({'ast', 'dataclasses', 'inspect', 'typing', 'loom._link'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-S", "-c", text], capture_output=True, text=True, env=environment())
    assert (done.returncode, done.stdout.strip()) == (0, "")


def test_the_version_is_that_of_the_package(capsys):
    import loom

    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"loom-tailcalls {loom.__version__}\n"
