"""Files are checked without being imported."""

import textwrap
from pathlib import Path

import pytest
from loom._errors import UnreadableError
from loom._lint import check_file, check_function, python_files


@pytest.fixture
def file(tmp_path):
    def write(text, name="case.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    return write


@pytest.mark.parametrize(
    ("imported", "decorator"),
    [
        ("from loom import tailrec", "tailrec"),
        ("from loom import tailrec as tr", "tr()"),
        ("import loom", "loom.tailrec"),
        ("import loom as l", "l.tailrec(blocks='step')"),
        ("from loom import *", "tailrec"),
    ],
)
def test_decorators_are_found_under_any_name(file, imported, decorator):
    (checked,) = check_file(file(f"{imported}\n1 / 0\n@{decorator}\ndef f(n): return f(n - 1)\n"))
    assert not checked.analysis.refusals
    assert checked.facts(with_source=True)["source"]


def test_other_decorators_with_the_same_name_are_ignored(file):
    assert check_file(file("from other import tailrec\n@tailrec\ndef f(n): return 1 + f(n - 1)\n")) == []


def test_options_are_read_from_the_text(file):
    path = file("from loom import tailrec\n@tailrec(blocks='reject')\ndef f(n):\n    with n: return f(n - 1)\n")
    (problem,) = check_file(path)[0].problems()
    assert (problem.level, problem.code, problem.line, problem.column) == ("error", "LT013", 4, 20)


def test_a_block_without_the_option_is_a_warning(file):
    path = file("from loom import tailrec\n@tailrec\ndef f(n):\n    with n: return f(n - 1)\n")
    (problem,) = check_file(path)[0].problems()
    assert (problem.level, problem.code, problem.function) == ("warning", "block-scope", "f")


def test_a_redefined_builtin_is_known(file):
    path = file("from loom import tailrec\nfrom mine import eval\n@tailrec\ndef f(n): return f(eval('n'))\n")
    assert not check_file(path)[0].analysis.refusals


def test_a_function_is_found_by_its_qualified_name(file):
    path = file("class A:\n    def m(self, n): return self.m(n - 1)\nclass B:\n    def m(self, n): return n\n")
    assert [found.analysis.code.co_qualname for found in check_function(path, "A.m")] == ["A.m"]
    assert len(check_function(path, "m")) == 2
    with pytest.raises(UnreadableError, match="no such function"):
        check_function(path, "C.m")


def test_folders_are_searched_for_python_files(file, tmp_path):
    file("", "a/b.py")
    file("", "a/.venv/c.py")
    file("", "a/node_modules/d.py")
    file("", "a/e.txt")
    assert [Path(path).name for path in python_files([str(tmp_path)])] == ["b.py"]
    assert [path.name for path in python_files([str(tmp_path / "a" / "e.txt")])] == ["e.txt"]
    with pytest.raises(UnreadableError, match="no such file"):
        list(python_files([str(tmp_path / "nothing")]))


@pytest.mark.parametrize("content", [b"def f(:\n", b"\x00", b"# coding: nonsense\n", b"x = '\xff'\n"])
def test_a_file_that_is_not_python_is_reported_in_one_line(tmp_path, content):
    path = tmp_path / "bad.py"
    path.write_bytes(content)
    with pytest.raises(UnreadableError) as caught:
        check_file(path)
    assert "\n" not in str(caught.value)


def test_a_folder_is_not_a_file(tmp_path):
    with pytest.raises(UnreadableError, match="Check the path"):
        check_file(tmp_path)


def test_a_file_that_python_runs_is_checked_at_any_depth_of_its_expressions(tmp_path):
    path = tmp_path / "deep.py"
    terms = " + ".join(["1"] * 2500)
    path.write_text(
        f"from loom import tailrec\nx = {terms}\n@tailrec\ndef f(n):\n    return 0 if n == 0 else f(n - 1)\n"
    )

    (found,) = check_file(path)

    assert not found.analysis.refusals


def test_a_file_nested_too_deeply_is_reported_in_one_line(tmp_path):
    path = tmp_path / "deeper.py"
    path.write_text("x = " + "(" * 5000 + ")" * 5000 + "\n")

    with pytest.raises(UnreadableError, match="cannot read .*deeper.py.*: because"):
        check_file(path)
