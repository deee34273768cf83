"""Each gate of `make lint` sees a planted violation, and lets a clean tree pass."""

import subprocess
from pathlib import Path

import gates
import pytest

ROOT = Path(__file__).resolve().parent.parent

ERRORS = '''"""The error tree::

    ThingError
      `-- ThingLost
"""


class ThingError(Exception):
    """Base of all errors of this package."""


class ThingLost(ThingError):
    """The thing is gone. Look for it."""
'''

INIT = '''"""A package."""

from thing._errors import ThingError, ThingLost

__all__ = ["ThingError", "ThingLost"]
'''


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A workspace of one clean package."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "workspace"\nversion = "1.0"\n')
    folder = tmp_path / "packages" / "thing"
    source = folder / "src" / "thing"
    source.mkdir(parents=True)
    (folder / "pyproject.toml").write_text('[project]\nname = "thing"\nversion = "1.0"\n')
    for name in ("README.md", "LICENSE", "src/thing/py.typed"):
        (folder / name).write_text("")
    (source / "__init__.py").write_text(INIT)
    (source / "_errors.py").write_text(ERRORS)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    return tmp_path


def source(tree: Path) -> Path:
    return tree / "packages" / "thing" / "src" / "thing"


@pytest.mark.parametrize("rule", gates.RULES, ids=lambda rule: rule.__name__)
def test_a_clean_tree_passes(tree: Path, rule: gates.Rule) -> None:
    assert list(rule(tree)) == []


def test_this_repository_passes_every_rule() -> None:
    assert [finding for rule in gates.RULES for finding in rule(ROOT)] == []


def test_a_registry_host_in_a_file_is_found(tree: Path) -> None:
    (tree / "notes.txt").write_text("fine\nsee https://py" + "pi.org/simple\n")

    (finding,) = gates.no_hosts_or_machine_paths(tree)

    assert (finding.path.name, finding.line) == ("notes.txt", 2)


@pytest.mark.parametrize("path", ["/home/" + "ann/x", "/root/" + ".cache", "/work/" + "main", '"/Users/' + 'bob"'])
def test_a_path_of_a_machine_is_found(tree: Path, path: str) -> None:
    (tree / "notes.txt").write_text(f"it is in {path}\n")

    assert [finding.line for finding in gates.no_hosts_or_machine_paths(tree)] == [1]


@pytest.mark.parametrize("text", ["docs/work/main", "GET /v1/runs", "https://x.example/home/ann", "./root/x"])
def test_a_relative_path_or_an_address_is_not_a_path_of_a_machine(tree: Path, text: str) -> None:
    (tree / "notes.txt").write_text(text)

    assert list(gates.no_hosts_or_machine_paths(tree)) == []


def test_a_tracked_lock_file_is_found(tree: Path) -> None:
    (tree / "uv.lock").write_text("")
    subprocess.run(["git", "-C", tree, "add", "uv.lock"], check=True)

    assert [finding.path.name for finding in gates.nothing_generated_is_tracked(tree)] == ["uv.lock"]


def test_another_version_is_found(tree: Path) -> None:
    (tree / "packages/thing/pyproject.toml").write_text('[project]\nname = "thing"\nversion = "1.1"\n')

    (finding,) = gates.one_version(tree)

    assert "1.1" in finding.text


@pytest.mark.parametrize(
    ("init", "message"),
    [
        (INIT.replace('"ThingLost"]', '"ThingLost", "Unbound"]'), "does not bind"),
        ('"""A package."""\n', "no literal __all__"),
        (INIT.replace('"""A package."""\n', ""), "no docstring"),
        (INIT.replace('["ThingError", "ThingLost"]', '["bare"]') + "\ndef bare(): ...\n", "bare has no docstring"),
    ],
)
def test_a_wrong_public_list_is_found(tree: Path, init: str, message: str) -> None:
    (source(tree) / "__init__.py").write_text(init)

    (finding,) = gates.public_api(tree)

    assert message in finding.text


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("class Stray(Exception):\n    '''Docstring.'''\n", "must hold one base class"),
        ("from thing._errors import ThingError\nclass Other(ThingError):\n    '''Doc.'''\n", "outside _errors.py"),
    ],
)
def test_an_exception_outside_the_tree_is_found(tree: Path, code: str, message: str) -> None:
    (source(tree) / "core.py").write_text(code)

    assert any(message in finding.text for finding in gates.error_tree(tree))


def test_an_error_tree_in_a_public_module_is_the_one_that_counts(tree: Path) -> None:
    (source(tree) / "_errors.py").rename(source(tree) / "errors.py")
    assert list(gates.error_tree(tree)) == []

    (source(tree) / "errors.py").write_text(ERRORS.replace("`-- ThingLost", "`-- Nothing"))
    (finding,) = gates.error_tree(tree)

    assert "ThingLost is not in the drawing" in finding.text


@pytest.mark.parametrize("folder", ["", "_folder"])
def test_a_prefix_that_occurs_three_times_in_a_folder_is_found(tree: Path, folder: str) -> None:
    (source(tree) / folder).mkdir(exist_ok=True)
    (source(tree) / "cli_other.py").write_text("")
    for name in ("cli_list.py", "_clock.py", "cli.py"):
        (source(tree) / folder / name).write_text("")
    (source(tree) / "_folder").mkdir(exist_ok=True)
    (source(tree) / "_folder" / "cli_elsewhere.py").write_text("")
    assert list(gates.folders_instead_of_prefixes(tree)) == []

    (source(tree) / folder / "cli_run.py").write_text("")
    (source(tree) / folder / "cli_show.py").write_text("")
    (finding,) = gates.folders_instead_of_prefixes(tree)

    assert "make it a folder cli/" in finding.text
    assert finding.path.parent == source(tree) / folder


@pytest.mark.parametrize(
    "code",
    [
        "class ErrandList: ...",
        "def mend_it(): ...",
        "def f(the_errand): ...",
        "desk = 1",
        "async def f():\n    for errand in []: ...",
        "class A:\n    def f(self):\n        self.bell = 1",
    ],
)
def test_a_coined_word_in_a_name_is_found(tree: Path, code: str) -> None:
    (source(tree) / "core.py").write_text(code + "\n")

    (finding,) = gates.no_coined_words(tree)

    assert ": use " in finding.text


def test_a_coined_word_in_the_name_of_a_module_is_found_and_one_inside_a_word_is_not(tree: Path) -> None:
    (source(tree) / "core.py").write_text("amended = kindly = desktop = 1\n")
    assert list(gates.no_coined_words(tree)) == []

    (source(tree) / "last_errand.py").write_text("")

    assert [finding.path.name for finding in gates.no_coined_words(tree)] == ["last_errand.py"]


@pytest.mark.parametrize(
    ("docstring", "message"),
    [
        ("TODO", "placeholder"),
        ("Docstring.", "placeholder"),
        ("...", "placeholder"),
        ("Read it.\n\n    FIXME: not true for pipes.", "placeholder"),
        ("Read lines.", "only repeats its name"),
        ("Read_lines", "only repeats its name"),
    ],
)
def test_a_placeholder_for_a_docstring_is_found(tree: Path, docstring: str, message: str) -> None:
    (source(tree) / "core.py").write_text(f'def read_lines():\n    """{docstring}"""\n')

    (finding,) = gates.no_placeholder_docstrings(tree)

    assert message in finding.text


@pytest.mark.parametrize("docstring", ["Read the lines of a file.", "Read `lines`.", "Read lines of the to-do list."])
def test_a_docstring_that_adds_to_the_name_is_no_placeholder(tree: Path, docstring: str) -> None:
    (source(tree) / "core.py").write_text(f'def read_lines():\n    """{docstring}"""\n')

    assert list(gates.no_placeholder_docstrings(tree)) == []


@pytest.mark.parametrize("code", ['__version__ = "1.0"', '__version__: str = "1.0"'])
def test_a_version_in_a_module_is_found(tree: Path, code: str) -> None:
    (source(tree) / "core.py").write_text('from importlib.metadata import version\n__version__ = version("thing")\n')
    assert list(gates.versions_from_metadata(tree)) == []

    (source(tree) / "core.py").write_text(code + "\n")

    assert [finding.line for finding in gates.versions_from_metadata(tree)] == [1]


@pytest.mark.parametrize("name", ["utils.py", "_helpers.py", "folder/data.py", "_folder/handler.py"])
def test_a_file_name_that_says_nothing_is_found(tree: Path, name: str) -> None:
    (source(tree) / name).parent.mkdir(exist_ok=True)
    (source(tree) / name).write_text("")

    assert [finding.path.name for finding in gates.telling_file_names(tree)] == [name.rpartition("/")[2]]


@pytest.mark.parametrize("code", ["from thing._core import _hidden", "def f():\n    from thing import _hidden"])
def test_an_import_of_a_private_name_is_found_and_that_of_a_private_module_is_not(tree: Path, code: str) -> None:
    (source(tree) / "_core.py").write_text("_hidden = 1\n")
    (source(tree) / "_module.py").write_text("from thing import _core, __doc__\n" + code + "\n")

    (finding,) = gates.no_private_names_from_other_modules(tree)

    assert (finding.path.name, finding.text.split(" of ")[0]) == ("_module.py", "imports the private name _hidden")


def test_a_wide_line_of_markdown_prose_is_found_and_a_wide_table_is_not(tree: Path) -> None:
    wide = "word " * 25
    (tree / "page.md").write_text(f"| {wide} |\n\n```\n{wide}\n```\n\n{wide}\n")

    assert [(finding.path.name, finding.line) for finding in gates.markdown_width(tree)] == [("page.md", 7)]


def test_an_import_of_another_packages_private_module_is_found(tree: Path) -> None:
    other = tree / "packages" / "other" / "src" / "other"
    other.mkdir(parents=True)
    (other.parent.parent / "pyproject.toml").write_text('[project]\nname = "other"\nversion = "1.0"\n')
    (other / "__init__.py").write_text(
        '"""Other."""\n\nfrom thing._errors import ThingError\n\n__all__ = ["ThingError"]\n'
    )

    (finding,) = gates.no_foreign_private_modules(tree)

    assert "private to thing" in finding.text
