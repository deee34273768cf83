"""What `DocumentIndex` promises about words, files and changes."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from loom_agents import Workspace, WorkspaceError
from loom_agents._search import ranking
from loom_agents.search import DocumentIndex, Limits, SearchError, rank_texts

OLD_NS = 1_700_000_000_000_000_000


def write(root: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        os.utime(file, ns=(OLD_NS, OLD_NS))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "docs"
    write(
        root,
        {
            "guide.md": "# Guide\n\n## Install\n\nUse pip.\n\n## Whales\n\nWhales sing songs.\n",
            "code.py": "def open_store(path):\n    return LeaseKeeper.max_wait_s\n\n\nclass LeaseKeeper:\n    pass\n",
            "japanese.md": "# 検索\n\n全文検索は速いです。\n",
            "thai.txt": "ภาษาไทยไม่มีช่องว่าง\n",
            "accents.md": "# Café\n\nNaïve Größe, Straße.\n",
            "picture.png": "\x89PNG",
        },
    )
    return root


@pytest.fixture
def index(root: Path) -> Iterator[DocumentIndex]:
    with DocumentIndex(None, root) as index:
        index.refresh()
        yield index


def paths(index: DocumentIndex, query: str) -> list[str]:
    return list(dict.fromkeys(match.path for match in index.search(query).matches))


@pytest.mark.parametrize(
    "query",
    [
        "lease keeper",
        "LeaseKeeper",
        "leasekeeper",
        "max_wait_s",
        "maximum wait",
        "LeaseKeeper.max_wait_s",
        "open_store()",
    ],
)
def test_a_name_in_code_is_found_by_its_parts_and_as_a_whole(index: DocumentIndex, query: str) -> None:
    assert paths(index, query)[0] == "code.py"


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("全文検索", "japanese.md"),
        ("検索はどう動きますか", "japanese.md"),
        ("速", "japanese.md"),
        ("ช่องว่าง", "thai.txt"),
        ("cafe", "accents.md"),
        ("naive", "accents.md"),
        ("Größe", "accents.md"),
        ("STRASSE", "accents.md"),
    ],
)
def test_words_of_any_script_are_found(index: DocumentIndex, query: str, path: str) -> None:
    assert paths(index, query) == [path]


def test_a_match_has_path_heading_line_and_snippet(index: DocumentIndex) -> None:
    [match] = index.search("singing whales").matches
    assert (match.path, match.heading, match.line, match.mode) == ("guide.md", "Guide > Whales", 9, "lexical")
    assert "Whales sing songs." in match.snippet and match.score > 0


@pytest.mark.parametrize(
    "query", ['" OR 1', "NEAR(a b)", "w*", "-x", "path:guide", "'", "", "!!", "^a AND", "a\0b", "́"]
)
def test_a_query_is_never_syntax(index: DocumentIndex, query: str) -> None:
    assert index.search(query).total >= 0


def test_a_refresh_reports_what_changed_and_reads_nothing_else(
    index: DocumentIndex, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int, str]] = []
    report = index.refresh(lambda done, total, path: seen.append((done, total, path)))
    assert (report.added, report.changed, report.removed, report.unchanged, report.ignored) == ((), (), (), 5, 1)
    assert seen == []
    write(root, {"new.md": "# New\n"})
    (root / "thai.txt").unlink()
    (root / "accents.md").write_text("# Tea\n")
    (root / "guide.md").touch()
    report = index.refresh(lambda done, total, path: seen.append((done, total, path)))
    assert (report.added, report.changed, report.removed) == (("new.md",), ("accents.md",), ("thai.txt",))
    assert report.unchanged == 3
    assert seen == [(1, 3, "accents.md"), (2, 3, "guide.md"), (3, 3, "new.md")]
    assert paths(index, "cafe") == [] and paths(index, "tea") == ["accents.md"]


def test_some_paths_are_refreshed_alone(index: DocumentIndex, root: Path) -> None:
    write(root, {"a/one.md": "# One\n", "a/two.md": "# Two\n", "b/three.md": "# Three\n"})
    assert index.refresh(paths=["a/one.md"]).added == ("a/one.md",)
    assert index.refresh(paths=["./a/", f"{root}/a/two.md"]).added == ("a/two.md",)
    (root / "a/one.md").unlink()
    assert index.refresh(paths=["a/one.md"]).removed == ("a/one.md",)
    assert index.refresh().added == ("b/three.md",)
    [skipped] = index.refresh(paths=["picture.png"]).skipped
    assert (skipped.path, skipped.why) == ("picture.png", "files of this kind are not read")
    with pytest.raises(SearchError, match=r"'\.\.' is not allowed"):
        index.refresh(paths=["../x"])


def test_ignored_files_secrets_and_links_stay_out(index: DocumentIndex, root: Path, tmp_path: Path) -> None:
    write(root, {".gitignore": "hidden/\n", "hidden/a.md": "walrus", ".env": "walrus", "secrets.yml": "walrus"})
    write(tmp_path, {"outside.md": "walrus"})
    (root / "link.md").symlink_to(tmp_path / "outside.md")
    index.refresh()
    index.refresh(paths=["hidden/a.md"])
    assert index.search("walrus").total == 0


def test_a_file_that_cannot_be_read_is_skipped_with_the_reason(root: Path) -> None:
    (root / "binary.md").write_bytes(b"\0\1\2")
    write(root, {"large.md": "x " * 600, "generated.md": "x" * 6_000})
    with DocumentIndex(None, root, limits=Limits(text_bytes=1_000)) as index:
        skipped = {item.path: item.why for item in index.refresh().skipped}
    assert skipped == {
        "binary.md": "it is binary, not text",
        "large.md": "it is larger than 1,000 bytes",
        "generated.md": "it is larger than 1,000 bytes",
    }
    with DocumentIndex(None, root) as index:
        skipped = {item.path: item.why for item in index.refresh().skipped}
    assert skipped["generated.md"] == "it has lines of more than 5000 characters, so it is generated"


def test_a_folder_that_is_gone_is_an_error_and_the_index_is_kept(index: DocumentIndex, root: Path) -> None:
    root.rename(root.with_name("elsewhere"))
    with pytest.raises(SearchError, match=r"is not there\. The index is kept"):
        index.refresh()
    assert paths(index, "whales") == ["guide.md"]
    with pytest.raises(SearchError, match="no such folder"):
        DocumentIndex(None, root)


def test_wrong_numbers_are_refused(index: DocumentIndex, root: Path) -> None:
    with pytest.raises(SearchError, match="`limit` at least 1"):
        index.search("x", limit=0)
    with pytest.raises(SearchError, match="cannot make chunks of 10 characters"):
        DocumentIndex(None, root, chunk_size=10)


def test_chunks_overlap_by_whole_lines(root: Path) -> None:
    write(root, {"long.txt": "\n\n".join(f"paragraph{number} " * 5 for number in range(10))})
    with DocumentIndex(None, root, chunk_size=200, chunk_overlap=80) as index:
        index.refresh()
        hits = [index.search(f"paragraph{number}").total for number in range(10)]
    assert set(hits) == {1, 2}


def test_a_closed_index_says_so(index: DocumentIndex) -> None:
    index.close()
    with pytest.raises(SearchError, match="it was closed"):
        index.search("x")


def test_a_file_that_may_not_be_read_leaves_and_is_tried_again(
    index: DocumentIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Workspace, path: str) -> NoReturn:
        if path == "thai.txt":
            raise PermissionError(13, "Permission denied")
        raise WorkspaceError(f"cannot read {path!r}: it was replaced by a link in the meantime.")

    monkeypatch.setattr(Workspace, "open", refused)
    report = index.refresh(paths=["guide.md", "thai.txt"], force=True)
    assert report.removed == ("guide.md", "thai.txt")
    assert [(item.path, item.why) for item in report.skipped] == [
        ("guide.md", "it was replaced by a link in the meantime"),
        ("thai.txt", "Permission denied"),
    ]
    again = index.refresh()
    assert (again.removed, again.skipped, paths(index, "whales")) == ((), report.skipped, [])
    monkeypatch.undo()
    assert index.refresh().added == ("guide.md", "thai.txt")
    assert paths(index, "whales") == ["guide.md"]


def test_two_that_read_a_file_at_once_write_it_once(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with DocumentIndex(tmp_path / "x", root) as one, DocumentIndex(tmp_path / "x", root) as other:
        one.refresh(lambda done, total, path: other.refresh() and None)
        assert one.health().files == 5 and one.search("whales").total == 1
        (root / "guide.md").touch()

        def changed(done: int, total: int, path: str) -> None:
            (root / "guide.md").write_text("# Seals")
            other.refresh()

        one.refresh(changed)
        assert paths(one, "seals") == ["guide.md"] and one.search("whales").total == 0


def test_in_a_large_index_the_rarer_words_decide(
    index: DocumentIndex, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(root, {f"many/{number}.md": f"common words rare{number % 5} text" for number in range(10)})
    index.refresh()
    assert index.search("common rare3").total == 10
    monkeypatch.setattr(ranking, "_MANY", 5)
    assert index.search("common rare3").total == 2
    assert index.search("common").total == 10
    assert index.search("common unknown").total == 10


def test_pages_of_results_do_not_depend_on_their_size(index: DocumentIndex, root: Path) -> None:
    write(root, {f"many/{number}.md": "common " + "word " * (number % 40) for number in range(150)})
    index.refresh()
    whole = [match.path for match in index.search("common", limit=150).matches]
    parts = [match.path for start in range(0, 150, 7) for match in index.search("common", 7, start).matches]
    assert parts == whole and len(set(whole)) == 150


def test_texts_that_no_table_holds_are_ranked() -> None:
    texts = ["the database is slow", "DatabasePool of the checkout", "nothing", "全文検索"]
    assert rank_texts("which database pool?", texts, 5) == [1, 0]
    assert rank_texts("検索", texts, 5) == [3]
    assert rank_texts("database", texts, 1) == [0] and rank_texts("?", texts, 5) == []


def test_no_part_of_a_secret_is_in_the_index_or_shown(tmp_path: Path) -> None:
    body = [f"MIIEowIBAAKCAQEA{number:02}" + "x1Y2" * 12 for number in range(200)]
    key = "\n".join(["-----BEGIN RSA PRIVATE KEY-----", *body, "-----END RSA PRIVATE KEY-----"])
    token = "ghp_" + "a1B2c3D4" * 5
    page = f"<h1>Hosts</h1><pre>{key}</pre><p>walrus {token}</p>"
    write(tmp_path / "docs", {"hosts.md": f"# Hosts\n\n{key}\n\n## Walrus\n\nwalrus {token}\n", "hosts.html": page})
    file = tmp_path / "index.db"
    with DocumentIndex(file, tmp_path / "docs") as index:
        index.refresh()
        assert not index.search(body[150]).matches
        found = {match.path: match for match in index.search("walrus").matches}
        assert found["hosts.md"].line == 206, "the lines keep their numbers"
        assert found["hosts.html"].snippet.endswith("walrus [redacted]")
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("index.db*"))
    assert b"walrus" in stored and b"MIIEow" not in stored and token.encode() not in stored
