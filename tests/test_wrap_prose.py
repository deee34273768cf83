"""The wrapper of prose breaks lines between words, and nothing else."""

import ast
import re
from pathlib import Path

import pytest
import wrap_prose

ROOT = Path(__file__).resolve().parent.parent
WORDS = "some words that go on " * 6
CODE = f"`{WORDS.strip()}`"


def markdown(text: str) -> str:
    made = wrap_prose.wrap_markdown(text)
    assert made.split() == text.split()
    assert wrap_prose.wrap_markdown(made) == made
    return made


def python(text: str) -> str:
    made = wrap_prose.wrap_python(text)
    ast.parse(made)
    assert wrap_prose.wrap_python(made) == made
    return made


def widest(text: str) -> int:
    return max(map(len, text.split("\n")))


def test_a_paragraph_is_filled_up_to_the_width() -> None:
    made = markdown(WORDS)

    assert 90 < widest(made) <= wrap_prose.WIDTH


def test_a_paragraph_without_a_wide_line_stays_as_it_was_written() -> None:
    text = "one\ntwo\n" + "x" * 99 + "\n"

    assert markdown(text) == text


@pytest.mark.parametrize(
    "text",
    [
        f"| {WORDS} | b |\n|---|---|\n| {WORDS} | d |",
        f"```python\n{WORDS}\n```",
        f"~~~\n{WORDS}\n```\n{WORDS}\n~~~",
        f"# {WORDS}",
        f"    {WORDS}",
        f"<div>\n{WORDS}\n</div>",
        f"---\ntitle: {WORDS}\n---",
        f"[link]: <{WORDS}>",
        CODE,
        f"> {WORDS}",
    ],
    ids=["table", "fence", "other fence", "heading", "indented", "html", "front matter", "link", "code", "quotation"],
)
def test_markdown_that_is_not_a_paragraph_stays(text: str) -> None:
    assert markdown(text) == text
    assert list(wrap_prose.wide_lines_of_markdown(text)) == []


@pytest.mark.parametrize(
    ("text", "hang"), [(f"* {WORDS}", "  "), (f"12. {WORDS}", "    "), (f"* a\n  * {WORDS}", "    ")]
)
def test_the_lines_of_a_list_item_hang_under_its_text(text: str, hang: str) -> None:
    made = markdown(text)

    assert widest(made) <= wrap_prose.WIDTH
    assert re.match(rf"{hang}\S", made.split("\n")[-1])


def test_items_of_a_list_stay_items() -> None:
    made = markdown(f"* {WORDS}\n* second\n* {WORDS}")

    assert sum(line.startswith("* ") for line in made.split("\n")) == 3


def test_a_word_that_would_begin_a_list_or_a_heading_never_begins_a_line() -> None:
    for filler in range(80, 100):
        for sign in ("*", "-", "1.", "#", ">", "+"):
            made = markdown("x" * filler + f" {sign} " + WORDS)
            assert not any(line.startswith(f"{sign} ") for line in made.split("\n"))


def test_a_hard_break_stays() -> None:
    assert "  \nnext" in markdown(f"{WORDS.strip()}  \nnext")


def test_a_docstring_is_wrapped_and_its_examples_and_tables_are_not() -> None:
    example = f'>>> print("{WORDS}")'
    text = f'''def f(name):
    """Do it.

    {WORDS}

    Args:
        name: {WORDS}
        other: short

    Example::

        {WORDS}

        {WORDS}

    {example}

    | {WORDS} | b |
    """
'''
    made = python(text)

    lines = made.split("\n")
    assert [line.strip() for line in lines if len(line) > wrap_prose.WIDTH] == [
        WORDS.strip(), WORDS.strip(), example, f"| {WORDS} | b |",
    ]  # fmt: skip
    name = next(number for number, line in enumerate(lines) if "name: some" in line)
    assert re.match(r" {12}\S", lines[name + 1])
    assert "        other: short" in lines


def test_a_docstring_of_one_line_gets_its_closing_quotes_on_a_line_of_their_own() -> None:
    made = python(f'def f():\n    """{WORDS.strip()}."""\n')

    assert made.split("\n")[-2:] == ['    """', ""]
    assert widest(made) <= wrap_prose.WIDTH


def test_comments_are_wrapped_and_directives_and_code_are_not() -> None:
    directive = f"# noqa: E501 {WORDS}"
    code = f'x = "{WORDS}"  # {WORDS}'
    made = python(f"# {WORDS}\n# more\n{directive}\n{code}\n#: {WORDS}\ny = 1\n")

    lines = made.split("\n")
    assert directive in lines
    assert code in lines
    assert sum(line.startswith("#: ") for line in lines) == 2
    assert all(len(line) <= wrap_prose.WIDTH for line in lines if line not in (directive, code))


def test_a_ruled_heading_gets_a_shorter_rule() -> None:
    made = python(f"class A:\n    # {'-' * 80} what is below this line\n    x = 1\n")

    assert len(made.split("\n")[1]) == wrap_prose.WIDTH


def test_a_drawing_stays() -> None:
    text = f'"""A tree::\n\n    a\n    `-- b      {WORDS}\n\nstep 0:        {WORDS}\n"""\n'

    assert python(text) == text


def test_check_names_files_and_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    page.write_text(WORDS)
    monkeypatch.setattr("sys.argv", ["wrap_prose.py", "--check", str(page)])

    assert wrap_prose.main() == 1
    assert capsys.readouterr().out == f"{page}\n"
    assert page.read_text() == WORDS

    monkeypatch.setattr("sys.argv", ["wrap_prose.py", str(page)])
    assert wrap_prose.main() == 0
    assert widest(page.read_text()) <= wrap_prose.WIDTH
