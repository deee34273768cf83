"""Debuggers, coverage, optimised mode, reloads and edited files: what people run over their
code.
"""

import contextlib
import importlib
import io
import os
import pdb  # noqa: T100 - the debugger is what is tested
import subprocess
import sys
import textwrap
from pathlib import Path

import loom
import pytest

PROGRAM = textwrap.dedent(
    """\
    import asyncio

    from loom import tailrec


    @tailrec
    async def f(n, acc=0):
        assert n >= 0
        if n == 0:
            return acc
        for i in range(2):
            if i == 1:
                return await f(
                    n - 1,
                    acc=acc + i,
                )
        return "never"


    def main():
        return asyncio.run(f(3))
    """
)


@pytest.fixture
def module(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "tooled_program.py").write_text(PROGRAM)
    importlib.invalidate_caches()
    yield importlib.import_module("tooled_program")
    del sys.modules["tooled_program"]


def plain(tmp_path, name="plain_program"):
    source = PROGRAM.replace("from loom import tailrec", "tailrec = lambda fn: fn")
    path = tmp_path / f"{name}.py"
    path.write_text(source)
    return path


def test_pdb_stops_at_a_line_of_every_step_and_shows_the_users_variables(module):
    commands = "b tooled_program:9\nc\np n, acc\nc\np n, acc\nc\np n, acc\nw\nc\np n\nc\n"
    out = io.StringIO()
    debugger = pdb.Pdb(stdin=io.StringIO(commands), stdout=out, nosigint=True, readrc=False)
    debugger.use_rawinput = False
    debugger.prompt = ""
    with contextlib.suppress(Exception):
        debugger.runcall(module.main)
    text = out.getvalue()
    for shown in ("(3, 0)", "(2, 1)", "(1, 2)", "tooled_program.py(9)f()", "if n == 0:"):
        assert shown in text, text


def test_pdb_steps_over_a_tail_call_into_the_next_step(module):
    commands = "b 14\nc\nn\nn\np n\nclear 1\nc\n"
    out = io.StringIO()
    debugger = pdb.Pdb(stdin=io.StringIO(commands), stdout=out, nosigint=True, readrc=False)
    debugger.use_rawinput = False
    debugger.set_break(module.__file__, 14)
    debugger.runcall(module.main)
    assert "tooled_program.py(14)f()" in out.getvalue(), out.getvalue()


def test_coverage_reports_the_same_lines_and_branches_as_for_the_recursion(module, tmp_path):
    pytest.importorskip("coverage")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    found = []
    for path in (Path(module.__file__), plain(tmp_path)):
        done = subprocess.run(
            [sys.executable, "-c", COVER, str(path)],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            env=environment,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found.append(done.stdout)
    assert found[0] == found[1]
    assert "'missing_lines': [17]" in found[0]  # the line behind the loop, the only one that does not run


COVER = textwrap.dedent(
    """
    import json, runpy, sys
    import coverage
    path = sys.argv[1]
    c = coverage.Coverage(data_file=None, branch=True, include=[path], config_file=False)
    c.start()
    runpy.run_path(path)["main"]()
    c.stop()
    c.json_report(outfile="report.json")
    (report,) = json.load(open("report.json"))["files"].values()
    print({key: value for key, value in report.items() if key not in ("functions", "classes")})
    """
)


@pytest.mark.parametrize(
    "flags", [["-O"], ["-OO"], ["-X", "importtime"], ["-B", "-W", "error"], ["-X", "dev"]], ids=" ".join
)
def test_the_interpreter_flags_change_nothing(tmp_path, flags):
    (tmp_path / "flagged.py").write_text(PROGRAM + "\n\nif __name__ == '__main__':\n    print(main())\n")
    done = subprocess.run(
        [sys.executable, *flags, "flagged.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "3\n", done.stderr


def test_a_module_can_be_reloaded_after_an_edit(module):
    path = module.__file__
    Path(path).write_text(PROGRAM.replace("acc + i", "acc + i * 100"))
    importlib.invalidate_caches()
    again = importlib.reload(module)
    assert again.main() == 300


def test_a_file_that_changed_since_the_import_is_refused(tmp_path, monkeypatch):
    source = PROGRAM.replace("@tailrec\n", "")
    path = tmp_path / "edited_program.py"
    path.write_text(source)
    code = compile(source, str(path), "exec")
    space = {"__name__": "edited_program", "__file__": str(path)}
    exec(code, space)
    path.write_text(source.replace("n - 1", "n - 2"))
    with pytest.raises(loom.TailCallError) as refusal:
        loom.tailrec(space["f"])
    assert refusal.value.code == "LT004"
    assert "edited" in str(refusal.value)


def test_a_script_from_standard_input_is_refused_or_runs(tmp_path):
    done = subprocess.run(
        [sys.executable, "-"],
        input=PROGRAM + "\nprint(main())\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "3\n" or "LT003" in done.stderr, done.stderr


def test_importing_loom_does_not_load_the_compiler():
    code = "import sys; import loom; print(*sorted(m for m in ('ast', 'tokenize', 'inspect', 'asyncio', 'typing_extensions') if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, timeout=60, check=False, env=with_path()
    )
    assert done.returncode == 0, done.stderr
    assert "asyncio" not in done.stdout


def with_path():
    return {**os.environ, "PYTHONPATH": str(Path(loom.__file__).parents[1])}
