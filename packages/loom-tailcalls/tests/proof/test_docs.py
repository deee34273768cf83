"""The documentation: every code has its entry, and every example does what the page shows."""

import contextlib
import io
import linecache
import re
import warnings
from pathlib import Path

import loom
import pytest
from loom._codes import CODES, DEVIATIONS

DOCS = Path(__file__).resolve().parents[4] / "docs"
CODES_PAGE = (DOCS / "tailcall-codes.md").read_text(encoding="utf-8")
_HEADING = re.compile(r"^## (\S+) · (.+)$", re.MULTILINE)
_BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n^```text\n(.*?)^```)?", re.MULTILINE | re.DOTALL)


def entries() -> dict[str, tuple[str, str]]:
    """Code -> (title, text) of the page of codes."""
    parts = _HEADING.split(CODES_PAGE)[1:]
    return {key: (title, text) for key, title, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True)}


def run(source: str, filename: str) -> str:
    """Execute a block of a page as a separate module; return what it printed."""
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    out = io.StringIO()
    with contextlib.redirect_stdout(out), warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(compile(source, filename, "exec", dont_inherit=True), {"__name__": "page"})
    return out.getvalue()


def test_the_page_of_codes_has_the_entries_of_the_table_and_no_others():
    assert {key: title for key, (title, _) in entries().items()} == {
        key: code.title for key, code in (CODES | DEVIATIONS).items()
    }
    assert list(entries()) == [*CODES, *DEVIATIONS]


@pytest.mark.parametrize("code", CODES)
def test_the_examples_of_a_code_are_refused_and_accepted_as_the_page_says(code):
    blocks = [block for block, _ in _BLOCK.findall(entries()[code][1])]
    assert [block.splitlines()[0] for block in blocks] == ["# refused", "# instead"]
    with pytest.raises(loom.TailCallError) as refusal:
        run(blocks[0], f"<{code} refused>")
    assert refusal.value.code == code, str(refusal.value)
    run(blocks[1], f"<{code} instead>")


PAGES = {
    path.name: [
        (number, source, printed)
        for number, (source, printed) in enumerate(_BLOCK.findall(path.read_text(encoding="utf-8")))
    ]
    for path in (
        DOCS / f"{name}.md" for name in ("semantics", "concurrency-contract", "formal-core", "performance-tracing")
    )
}


@pytest.mark.parametrize(
    ("page", "number"), [(page, number) for page, blocks in PAGES.items() for number, _, _ in blocks]
)
def test_an_example_of_a_page_prints_what_the_page_shows(page, number):
    _, source, printed = PAGES[page][number]
    assert run(source, f"<{page} {number}>") == printed


def test_the_pages_have_examples():
    assert len(PAGES["semantics.md"]) >= 8
    assert len(PAGES["concurrency-contract.md"]) >= 3
