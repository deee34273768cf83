from pathlib import Path

import pytest
from loom_agents.search import DocumentIndex, SearchError

TEXT = "# One\n\nfirst\n\n\n\n## Two\n\nsecond\n"


@pytest.fixture
def index(tmp_path: Path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/a.md").write_text(TEXT)
    (tmp_path / "docs/b.html").write_text("<h1>Title</h1><p>hello</p>")
    with DocumentIndex(tmp_path / "index.sqlite", tmp_path / "docs", chunk_size=100, chunk_overlap=50) as index:
        index.refresh()
        yield index


def test_a_change_and_a_removal_are_shown_against_the_version_before(index: DocumentIndex, tmp_path: Path) -> None:
    file = tmp_path / "docs/a.md"
    first = index.difference("a.md")
    assert (first.replaced_at, first.diff) == (None, "")
    file.write_text(TEXT.replace("second", "third"))
    changed = index.difference("a.md")
    assert changed.diff.splitlines()[-2:] == ["-second", "+third"] and changed.replaced_at is not None
    assert index.difference(str(file)) == changed
    file.write_text(TEXT.replace("second", "third") + "\n\n")  # the same text
    assert index.difference("a.md") == changed
    file.unlink()
    removed = index.difference("a.md").diff.splitlines()
    assert removed[2].endswith("+0,0 @@") and removed[-1] == "-third"


def test_parts_that_overlap_are_joined_once(tmp_path: Path) -> None:
    lines = [f"line {number} of a long text\n" for number in range(200)]
    (tmp_path / "long.md").write_text("".join(lines))
    with DocumentIndex(None, tmp_path, chunk_size=200, chunk_overlap=100) as index:
        index.refresh()
        (tmp_path / "long.md").write_text("".join(lines[:100] + lines[101:]))
        diff = index.difference("long.md").diff.splitlines()[2:]
    assert [line for line in diff if line[0] in "+-"] == ["-line 100 of a long text"]


def test_other_sizes_of_parts_make_no_version(index: DocumentIndex, tmp_path: Path) -> None:
    with DocumentIndex(tmp_path / "index.sqlite", tmp_path / "docs", chunk_size=300) as other:
        assert "sizes of chunks" in str(other.refresh().rebuilt)
        assert other.difference("a.md").replaced_at is None


def test_the_text_of_a_document_is_that_of_the_file_or_its_conversion(index: DocumentIndex) -> None:
    assert index.text("a.md") == TEXT
    assert index.text("b.html") == "Title\n\nhello"
    assert index.difference("a.md", "b.html").diff.startswith("--- a.md\n+++ b.html\n")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("../x.md", "is not allowed"),
        ("/etc/passwd", "outside"),
        ("no.md", "no such document"),
        (".", "no such document"),
        ("x.bin", "of this kind"),
        ("zero.md", "binary"),
        ("broken.docx", "it is broken"),
        ("large.md", "larger than"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(
    index: DocumentIndex, tmp_path: Path, path: str, why: str
) -> None:
    for name, data in (("x.bin", b"x"), ("zero.md", b"\0\1"), ("broken.docx", b"x"), ("large.md", b"x" * 2_000_001)):
        (tmp_path / "docs" / name).write_bytes(data)
    with pytest.raises(SearchError, match=why):
        index.text(path)


def test_a_path_that_is_not_indexed_cannot_be_compared(index: DocumentIndex) -> None:
    with pytest.raises(SearchError, match="not in the index"):
        index.difference("no.md")
