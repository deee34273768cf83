"""Wrap prose at 100 columns: paragraphs of docstrings, comments and Markdown that have a wider
line.

    python tools/wrap_prose.py PATH ...           rewrite files (folders: every .py and .md that git tracks)
    python tools/wrap_prose.py --check PATH ...   only name the files that would change; exit 1 if there are any

Only a paragraph with a line that is too wide is touched, and only its line breaks: the words, and
for Python the syntax tree apart from white space in docstrings, stay the same (this is checked
before a file is written). Left alone are tables, headings, fenced and indented code, doctests,
literal blocks (what follows `::` or is indented below a paragraph), HTML, and link definitions.
Code between backticks and the target of a link are never broken.
"""

import argparse
import ast
import difflib
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path

WIDTH = 100

_BULLET = re.compile(r"(?:[*+-]|\d{1,3}[.)])[ ]+(?=\S)")
_FIELD = re.compile(r"(?:`[^`]+`|\*{0,2}[A-Za-z_][\w.*\[\], |]*?)(?: \([^)]*\))?:[ ](?=\S)")
_SECTION = re.compile(r"(?:Args|Arguments|Parameters|Attributes|Raises|Yields|Returns|Warns|Options|Commands):$")
_FIELD_SECTIONS = ("Args:", "Arguments:", "Parameters:", "Attributes:", "Raises:", "Warns:", "Options:", "Commands:")
_STRUCTURE = re.compile(
    r"[|>]|#{1,6}\s|```|~~~|<[!/A-Za-z]|\[[^\]]+\]:\s|!!!|\?\?\?|={3,}$|-{3,}$|\*{3,}$|:{3,}|\+[-=]"
)
_NOT_AT_LINE_START = re.compile(r"(?:[*+-]|\d{1,9}[.)]|#{1,6}|>.*|\||=+|-+|```.*|~~~.*|>>>|\.\.\.)$")
_DRAWING = re.compile(r"\S   +\S|[─│└├┌┐┘▸]|\S  +(?:->|--)|(?:^|\s)[`|]-- ")
_RULE = re.compile(r"(\s*# )(-{8,})( \S.*)$")


def _units(text: str) -> list[str]:
    """Split prose into pieces that a line break may separate: words, code in backticks, links with
    their target.
    """
    units: list[str] = []
    for word in text.split():
        if units and _is_open(units[-1]):
            units[-1] += f" {word}"
        elif units and _NOT_AT_LINE_START.match(word):
            units[-1] += f" {word}"  # at the start of a line it would become a list, a heading, a quotation
        else:
            units.append(word)
    return units


def _is_open(unit: str) -> bool:
    return unit.count("`") % 2 == 1


def _filled(text: str, first: str, rest: str, width: int) -> list[str]:
    """Fill lines greedily; the first begins with `first`, the others with `rest`."""
    lines: list[str] = []
    line, empty = first, True
    for unit in _units(text):
        if not empty and len(line) + 1 + len(unit) > width:
            lines.append(line)
            line, empty = rest, True
        line += unit if empty else f" {unit}"
        empty = False
    return [*lines, line]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


class _Item:
    """A paragraph, or one item of a list: where it begins and how its lines hang."""

    def __init__(self, line: str) -> None:
        self.indent = _indent(line)
        marker = _BULLET.match(line.strip())
        self.hang = self.indent + (len(marker[0]) if marker else 0)
        self.is_bullet = marker is not None
        self.is_field = False
        self.lines = [line]


def _wrapped(block: list[str], width: int, *, hard_breaks: bool, in_fields: bool) -> list[str]:
    """Wrap the paragraphs and list items of a block of lines without a blank one."""
    items: list[_Item] = []
    fields_at: int | None = _indent(block[0]) if in_fields else None
    for line in block:
        text, indent = line.strip(), _indent(line)
        if items and _SECTION.match(items[-1].lines[-1].strip()) and len(items[-1].lines) == 1:
            fields_at = indent if items[-1].lines[0].strip() in _FIELD_SECTIONS else None
            items.append(_Item(line))
        elif (
            _STRUCTURE.match(text)
            or (items and _STRUCTURE.match(items[-1].lines[-1].strip()))
            or not items
            or _SECTION.match(text)
            or (_BULLET.match(text) and indent <= items[-1].hang)
            or (fields_at is not None and indent == fields_at and _FIELD.match(text))
            or (hard_breaks and items[-1].lines[-1].endswith(("  ", "\\")))
        ):
            items.append(_Item(line))
        elif indent in (items[-1].indent, items[-1].hang) or len(items[-1].lines) > 1:
            items[-1].lines.append(line)
        elif indent > items[-1].indent:
            items[-1].lines.append(line)
            items[-1].hang = indent
        else:
            items.append(_Item(line))
        items[-1].is_field = fields_at is not None and _indent(items[-1].lines[0]) == fields_at
    return [line for item in items for line in _wrapped_item(item, width)]


def _wrapped_item(item: _Item, width: int) -> list[str]:
    if all(len(line) <= width for line in item.lines):
        return item.lines
    if any(_STRUCTURE.match(line.strip()) or _DRAWING.search(line.strip()) for line in item.lines):
        return item.lines
    rest = item.lines[1:]
    indents = {_indent(line) for line in rest}
    if len(indents) > 1:
        return item.lines  # not a paragraph: something is laid out by hand
    hang = indents.pop() if indents else item.hang + (4 if item.is_field and not item.is_bullet else 0)
    ending = "  " if item.lines[-1].endswith("  ") else ""
    first = item.lines[0][: item.hang] if item.is_bullet else " " * item.indent
    text = " ".join([item.lines[0][len(first) :], *rest])
    return [line.rstrip() for line in _filled(text, first, " " * hang, width)[:-1]] + [
        _filled(text, first, " " * hang, width)[-1] + ending
    ]


# ------------------------------------------------------------------ Markdown


def wrap_markdown(text: str, width: int = WIDTH) -> str:
    """Wrap the prose of a Markdown document."""
    made: list[str] = []
    block: list[str] = []
    fence = ""
    in_list = html = False

    def flush() -> None:
        if block:
            made.extend(_wrapped(block, width, hard_breaks=True, in_fields=False))
            block.clear()

    lines = text.split("\n")
    front_matter = lines[0] == "---"
    for number, line in enumerate(lines):
        stripped = line.strip()
        if front_matter:
            made.append(line)
            front_matter = number == 0 or stripped != "---"
        elif fence:
            made.append(line)
            if stripped.startswith(fence) and not stripped.strip(fence[0]):
                fence = ""
        elif match := re.match(r"\s*(?:>\s*)*(`{3,}|~{3,})", line):
            flush()
            made.append(line)
            fence = match[1]
        elif not stripped:
            flush()
            made.append(line)
            html = False
        elif html or (stripped.startswith("<") and not block and re.match(r"<[!/A-Za-z]", stripped)):
            flush()
            html = True
            made.append(line)
        elif _is_code(line, block, in_list) or _STRUCTURE.match(stripped):
            flush()
            made.append(line)
        else:
            if not block:
                in_list = _BULLET.match(stripped) is not None or (in_list and line.startswith("  "))
            elif _BULLET.match(stripped):
                in_list = True
            block.append(line)
    flush()
    return "\n".join(made)


def _is_code(line: str, block: list[str], in_list: bool) -> bool:
    """Tell whether a line after a blank one is indented code; inside a list it is not that easy, so
    only deep ones.
    """
    return not block and line.startswith("        " if in_list else "    ")


def wide_lines_of_markdown(text: str, width: int = WIDTH) -> Iterator[int]:
    """Yield the numbers of the lines that wrapping would break."""
    before, after = text.split("\n"), wrap_markdown(text, width).split("\n")
    for change, first, last, _, _ in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if change != "equal":
            yield from (number + 1 for number in range(first, last) if len(before[number]) > width)


# ------------------------------------------------------------------ Python


def wrap_python(text: str, width: int = WIDTH) -> str:
    """Wrap the docstrings and the comment lines of a module."""
    lines = text.split("\n")
    wide = any(len(line) > width for line in lines)
    for first, last in sorted(_docstrings(text), reverse=True) if wide else ():
        lines[first - 1 : last] = _wrap_docstring(lines[first - 1 : last], width)
    lines = _wrap_comments(lines, width) if wide else lines
    made = "\n".join(lines)
    if wide and _meaning(made) != _meaning(text):
        raise AssertionError("wrapping would change more than line breaks")
    return made


def _docstrings(text: str) -> Iterator[tuple[int, int]]:
    """Yield first and last line of each string that stands as a statement of its own."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.end_lineno or node.lineno


def _wrap_docstring(lines: list[str], width: int) -> list[str]:
    if not re.match(r'\s*[rR]?"""', lines[0]) or not lines[-1].rstrip().endswith('"""'):
        return lines  # some other string
    last_alone = [] if '"""' in lines[-1].rstrip()[:-3] or lines[-1].strip(' "') else lines[-1:]
    base = _indent(lines[0])
    body = lines[: len(lines) - len(last_alone)]
    made: list[str] = []
    block: list[str] = []
    literal: int | None = None  # lines indented more than this are verbatim
    header = ""
    header_indent = base

    def flush() -> None:
        nonlocal literal, header, header_indent
        if block:
            in_fields = header in _FIELD_SECTIONS and _indent(block[0]) > header_indent
            made.extend(_wrapped(block, width, hard_breaks=False, in_fields=in_fields))
            if block[-1].rstrip().endswith(("::", ":")) and not _SECTION.match(block[-1].strip()):
                literal = _indent(block[0])
            for line in block:
                if _SECTION.match(line.strip()):
                    header, header_indent = line.strip(), _indent(line)
            block.clear()

    paragraph_indent = base
    for line in body:
        stripped = line.strip()
        if not stripped:
            flush()
            made.append(line)
            continue
        if block:
            block.append(line)
            continue
        indent = _indent(line)
        if literal is not None and indent > literal:
            made.append(line)
            continue
        literal = None
        in_section = header and indent > header_indent
        is_deeper = indent > paragraph_indent and not in_section and not _BULLET.match(stripped)
        if stripped.startswith((">>>", "...")) or (is_deeper and made):
            literal = min(paragraph_indent, indent - 1)
            made.append(line)
            continue
        paragraph_indent = indent if not in_section else header_indent
        block.append(line)
    flush()
    if last_alone:
        return [*made, *last_alone]
    if len(made) > len(body) == 1:  # a one-line docstring became several lines
        made[-1] = made[-1].rstrip().removesuffix('"""')
        return [*made, " " * base + '"""']
    return made


def _wrap_comments(lines: list[str], width: int) -> list[str]:
    """Wrap runs of comment lines; only lines that hold nothing but a comment."""
    alone = _comment_lines("\n".join(lines))
    made: list[str] = []
    run: list[str] = []
    prefix = ""

    def flush() -> None:
        if run:
            texts = [line[len(prefix) :] for line in run]
            made.extend(_wrap_comment(texts, prefix, width))
            run.clear()

    for number, line in enumerate(lines, 1):
        match = re.match(r"\s*#:? (?=\S)", line)
        if number not in alone or match is None or _is_directive(line):
            flush()
            wide_rule = _RULE.match(line) if number in alone and len(line) > width else None
            made.append(_shorter_rule(wide_rule, width) if wide_rule else line)
            continue
        if run and match[0] != prefix:
            flush()
        prefix = match[0]
        run.append(line)
    flush()
    return made


def _shorter_rule(rule: re.Match[str], width: int) -> str:
    return rule[1] + "-" * max(8, width - len(rule[1] + rule[3])) + rule[3]


def _wrap_comment(texts: list[str], prefix: str, width: int) -> list[str]:
    wrapped = _wrapped(texts, width - len(prefix), hard_breaks=False, in_fields=False)
    return [prefix + line for line in wrapped]


def _is_directive(line: str) -> bool:
    text = line.strip().lstrip("#:").strip()
    return bool(re.match(r"-{3,}|={3,}|!|type:|noqa|fmt:|pragma|ruff:|mypy:|pyright:", text))


def _comment_lines(text: str) -> set[int]:
    found: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and not token.line[: token.start[1]].strip():
            found.add(token.start[0])
    return found


def _meaning(text: str) -> tuple[str, list[str]]:
    """Return what must not change: the tree, with equal white space in docstrings, and the words of
    comments.
    """
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            node.value.value = " ".join(node.value.value.split())
    comments = [
        word
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT
        for word in token.string.lstrip("#: ").split()
        if word.strip("-")
    ]
    return ast.dump(tree), comments


# ------------------------------------------------------------------ command


def wrapped(path: Path, text: str) -> str:
    return wrap_markdown(text) if path.suffix == ".md" else wrap_python(text)


def files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            listing = subprocess.run(
                ["git", "ls-files", "-z", "*.py", "*.md"], cwd=path, check=True, capture_output=True, text=True
            )
            yield from (path / name for name in filter(None, listing.stdout.split("\0")) if (path / name).exists())
        else:
            yield path


def main() -> int:
    parser = argparse.ArgumentParser(description=f"Wrap prose at {WIDTH} columns.")
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    parser.add_argument("--check", action="store_true", help="change nothing; name what would change")
    options = parser.parse_args()
    changed = 0
    for path in files(options.paths):
        text = path.read_text(encoding="utf-8")
        made = wrapped(path, text)
        if made != text:
            changed += 1
            print(path)
            if not options.check:
                path.write_text(made, encoding="utf-8")
    return 1 if changed and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
