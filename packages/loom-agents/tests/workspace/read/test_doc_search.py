from pathlib import Path

import pytest
from loom_agents._errors import ToolError
from loom_agents._search.words import query_words
from loom_agents._workspace.jail import Workspace
from loom_agents._workspace.read import doc_search
from loom_agents._workspace.read.doc_search import DocumentSearch


@pytest.fixture
def search(workspace: Workspace) -> DocumentSearch:
    return DocumentSearch(workspace)


def test_a_heading_has_more_weight_than_a_mention(search: DocumentSearch) -> None:
    found = search.search_docs("how does resume work?")
    assert [(m["path"], m["line"]) for m in found["matches"]] == [("README.md", 5), ("docs/guide.md", 9)]
    assert found["matches"][0]["heading"] == "Sample > Resume"
    assert "killed run" in found["matches"][0]["snippet"]


def test_the_line_is_the_one_with_the_most_words_of_the_query(search: DocumentSearch) -> None:
    [first, *_] = search.search_docs("songs of whales")["matches"]
    assert (first["path"], first["line"]) == ("docs/guide.md", 9)


def test_other_forms_of_a_word_are_found(search: DocumentSearch) -> None:
    assert search.search_docs("installing")["matches"][0]["heading"] == "Guide > Install"


def test_ignored_and_secret_files_are_not_searched(search: DocumentSearch) -> None:
    assert search.search_docs("hidden hunter2")["total"] == 0


def test_the_next_search_finds_changed_and_new_documents_and_no_deleted_ones(
    search: DocumentSearch, workspace: Workspace
) -> None:
    assert search.search_docs("walrus")["total"] == 0
    new = workspace.root / "docs" / "new.md"
    new.write_text("# Walrus\n")
    assert search.search_docs("walrus")["total"] == 1
    new.write_text("# Walrus and more walrus\n\n## Walrus\n")
    assert search.search_docs("walrus")["total"] == 2
    new.unlink()
    assert search.search_docs("walrus")["total"] == 0


@pytest.mark.parametrize(
    "query", ['" OR 1', "NEAR(a b)", "resume*", "-x", "heading:resume", "'", "", "!!", "^a AND NOT"]
)
def test_a_query_has_words_and_no_syntax(search: DocumentSearch, query: str) -> None:
    assert isinstance(search.search_docs(query)["matches"], list)


def test_results_are_paged(search: DocumentSearch) -> None:
    first = search.search_docs("whales", limit=1)
    assert first["truncated"]
    second = search.search_docs("whales", offset=first["next_offset"], limit=50)
    assert first["total"] == second["total"] == 1 + len(second["matches"])
    with pytest.raises(ToolError):
        search.search_docs("whales", limit=0)


def test_a_document_that_is_too_large_is_named(
    search: DocumentSearch, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doc_search, "MAX_DOCUMENT_BYTES", 88)
    assert search.search_docs("whales")["skipped_documents"] == ["README.md"]


def test_an_empty_folder_has_no_documents(tmp_path: Path) -> None:
    found = DocumentSearch(Workspace.at(tmp_path)).search_docs("hello")
    assert found == {"matches": [], "documents": 0, "total": 0, "truncated": False, "next_offset": None}


def test_stop_words_are_left_out_unless_there_are_no_others() -> None:
    assert query_words("How does the Runner resume? resume!") == ["runner", "resume"]
    assert query_words("who are you") == ["who", "are", "you"]


def test_a_generated_text_does_not_match_every_search(workspace: Workspace) -> None:
    (workspace.root / "data.txt").write_text("whales " * 1_000)
    (workspace.root / "trace.html").write_text("<script>" + "whales " * 1_000)
    answer = DocumentSearch(workspace).search_docs("whales")
    assert {match["path"] for match in answer["matches"]} == {"README.md", "docs/guide.md", "sub/y.txt"}
