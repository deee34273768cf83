"""The text of a function is found where Python loaded it from."""

import sys
import zipfile

import pytest
from loom import TailCallError, tailrec
from loom._locate import locate
from loom._source import read_definitions

TEXT = "from loom import tailrec\n@tailrec\ndef f(n): return f(n - 1) if n else 'end'\n"


@pytest.fixture
def importable(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("loom_case_"):
            del sys.modules[name]


def test_a_module_in_a_zip_file_is_compiled(importable, monkeypatch):
    archive = importable / "modules.zip"
    with zipfile.ZipFile(archive, "w") as stream:
        stream.writestr("loom_case_zip.py", TEXT)
    monkeypatch.syspath_prepend(archive)
    import loom_case_zip

    assert loom_case_zip.f(3000) == "end"


def test_a_file_that_changed_since_the_import_is_refused(importable):
    path = importable / "loom_case_edit.py"
    path.write_text("def f(n):\n    return f(n - 1) if n else 'end'\n")
    import loom_case_edit

    path.write_text("def f(n):\n    return f(n - 2) if n else 'other'\n")
    with pytest.raises(TailCallError) as caught:
        tailrec(loom_case_edit.f)
    assert caught.value.code == "LT004"


def test_a_file_whose_lines_moved_is_refused(importable):
    path = importable / "loom_case_moved.py"
    path.write_text("def f(n):\n    return f(n - 1) if n else 'end'\n")
    import loom_case_moved

    path.write_text("def f(n):\n    # a comment more\n    return f(n - 1) if n else 'end'\n")
    with pytest.raises(TailCallError) as caught:
        tailrec(loom_case_moved.f)
    assert caught.value.code == "LT004"


def test_a_file_that_does_not_parse_any_more_is_refused(importable):
    path = importable / "loom_case_broken.py"
    path.write_text("def f(n):\n    return f(n - 1) if n else 'end'\n")
    import loom_case_broken

    path.write_text("def f(n:\n")
    with pytest.raises(TailCallError) as caught:
        tailrec(loom_case_broken.f)
    assert caught.value.code == "LT003"


def test_code_without_source_is_refused():
    space = {}
    exec(compile("def f(n): return f(n - 1)", "<without source>", "exec"), space)
    with pytest.raises(TailCallError) as caught:
        tailrec(space["f"])
    assert (caught.value.code, caught.value.filename) == ("LT003", "<without source>")


def test_an_invalid_escape_in_the_text_does_not_warn_again(importable):
    (importable / "loom_case_escape.py").write_text(f'P = "{chr(92)}d"\ndef f(n): return f(n - 1) if n else P\n')
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import loom_case_escape
    assert tailrec(loom_case_escape.f)(3) == r"\d"


def test_asserts_that_pytest_rewrote_keep_their_details():
    @tailrec
    def f(n):
        if n == 0:
            assert n == [1, 2][0]
        return f(n - 1)

    with pytest.raises(AssertionError, match="assert 0 == 1"):
        f(3)


def test_definitions_have_the_scopes_around_them(programs):
    module = programs.load(
        """
        class A:
            def m(self):
                def inner(): pass
                return inner
        """
    )
    definition, _ = locate(module.A().m())
    assert (definition.class_name, definition.private_class) == (None, "A")
    definition, _ = locate(module.A.m)
    assert (definition.class_name, definition.private_class) == ("A", "A")


def test_definitions_are_found_in_every_kind_of_block(programs):
    programs.load(
        """
        if True:
            def a(): pass
        try:
            def b(): pass
        except OSError:
            def c(): pass
        match 1:
            case 1:
                def d(): pass
        """
    )
    found = read_definitions(programs.filenames[-1], None, asserts_rewritten=False)
    assert [definition.node.name for definition in found] == ["a", "b", "c", "d"]


def test_names_imported_at_module_level_are_collected(programs):
    source = "import os.path, sys as system\nif 1:\n    from re import *\n    from re import match as m\ndef f():\n    import json"
    definition, _ = locate(programs.load(source).f)
    assert definition.file.imported == ("m", "os", "system")


def test_a_long_elif_chain_does_not_overflow(programs):
    branches = "".join(f"    elif n == {number}: return f(n - 1)\n" for number in range(2, 500))
    module = programs.load(f"@tailrec\ndef f(n):\n    if n == 1: return f(n - 1)\n{branches}    return 'end'\n")
    assert module.f(480) == "end"


def test_a_long_sum_does_not_overflow(programs):
    module = programs.load(f"@tailrec\ndef f(n, t=0): return t if n == 0 else f(n - 1, {' + '.join(['n'] * 800)})")
    assert module.f(2) == 800
