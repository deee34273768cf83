"""The tools for documents, called by a client."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mcp import Client


def test_a_search_indexes_first_and_returns_path_line_and_heading(docs: Any) -> None:
    found = docs.get("docs_search", query="how do I resume a run after a crash?")
    best = found["matches"][0]
    assert (best["path"], best["line"]) == ("guide.md", 5) and "Resume a run" in best["heading"]
    assert found["total"] >= 2 and not found["truncated"]
    assert docs.found("resume_run", top_k=1) and docs.found("resumeRun") == docs.found("resume run")
    assert docs.found("äpfel") == ["guide.md"] and docs.found("ninety") == ["page.html"]


def test_what_changed_is_found_at_once_and_what_is_gone_is_not(docs: Any) -> None:
    assert docs.found("zeppelin") == []
    (docs.root / "new.md").write_text("# New\n\nThe zeppelin.\n")
    assert docs.found("zeppelin") == ["new.md"]
    (docs.root / "new.md").unlink()
    assert docs.found("zeppelin") == []


@pytest.mark.parametrize("query", ['"', "AND OR NOT", "a* NEAR(b, 2)", "path:guide", "(((", "-", "{}", "'; DROP TABLE"])
def test_a_query_is_never_syntax(docs: Any, query: str) -> None:
    docs.get("docs_search", query=query)


def test_files_that_may_hold_secrets_are_not_documents(docs: Any, secret: str) -> None:
    assert docs.found("hunter2") == [] and docs.found("zebra") == []
    assert "secret" in docs.error("docs_read", path=".env")
    page = docs.get("docs_read", path="keys.md")
    assert secret not in page["text"] and not page["is_exact"]
    assert secret not in docs.text("docs_search", query="token today")


def test_a_private_key_is_masked_also_by_reading_its_middle(docs: Any) -> None:
    body = [f"MIIEowIBAAKCAQEA{number}" + "x1Y2" * 12 for number in range(6)]
    key = "\n".join(["-----BEGIN RSA PRIVATE KEY-----", *body, "-----END RSA PRIVATE KEY-----"])
    (docs.root / "host.md").write_text(f"# Host\n\nzebra key:\n{key}\nthe end\n")
    page = docs.get("docs_read", path="host.md")
    assert page["total_lines"] == 12 and page["text"].split("\n")[11] == "the end" and not page["is_exact"]
    assert docs.get("docs_read", path="host.md", first_line=12)["text"] == "the end"
    for line in range(4, 11):
        assert "MIIE" not in docs.get("docs_read", path="host.md", first_line=line, max_lines=2)["text"]
    for query in ("zebra key", "the end", body[3]):
        assert "MIIE" not in docs.text("docs_search", query=query)


def test_a_masked_html_page_is_not_said_to_be_exact(docs: Any) -> None:
    (docs.root / "token.html").write_text("<h1>Token</h1><p>ghp_" + "a1B2c3D4" * 5 + "</p>")
    page = docs.get("docs_read", path="token.html")
    assert "ghp_" not in page["text"] and "[redacted]" in page["text"] and not page["is_exact"]
    assert docs.get("docs_read", path="page.html")["is_exact"]


def test_reading_goes_on_where_it_stopped(docs: Any) -> None:
    first = docs.get("docs_read", path="guide.md", max_lines=3)
    assert first["text"].splitlines()[-1] == "## Resume a run" and first["next_line"] == 4 and first["total_lines"] == 9
    assert "first_line=4 reads on" in docs.text("docs_read", path="guide.md", max_lines=3)
    rest = docs.get("docs_read", path="guide.md", first_line=4)
    assert rest["next_line"] is None and rest["text"].endswith("Birnen.")
    assert docs.get("docs_read", path="page.html")["text"].split() == "Retention Kept ninety days.".split()


def test_control_characters_of_a_document_are_shown_and_not_sent(docs: Any) -> None:
    (docs.root / "odd.md").write_text("# Odd\n\nred \x1b[31mtext\x07 end\n")
    page = docs.get("docs_read", path="odd.md")
    assert "\x1b" not in page["text"] and "\x07" not in page["text"] and not page["is_exact"]
    assert "\x1b" not in docs.text("docs_search", query="red text end")


@pytest.mark.parametrize("path", ["../outside.md", "/etc/passwd", "link.md", "none.md", "app", "", "a\0b", "x" * 5000])
def test_a_path_that_may_not_be_read_is_refused(docs: Any, path: str) -> None:
    (docs.root.parent / "outside.md").write_text("outside")
    (docs.root / "link.md").symlink_to(docs.root.parent / "outside.md")
    for tool in ("docs_read", "docs_diff"):
        text = docs.error(tool, path=path)
        assert len(text) < 500 and "Traceback" not in text and "outside\n" not in text


def test_the_difference_to_the_earlier_version(docs: Any) -> None:
    docs.get("docs_reindex")
    assert docs.text("docs_diff", path="notes.txt") == "[no earlier version is known]"
    (docs.root / "notes.txt").write_text("The deploy window is Friday.\n")
    found = docs.get("docs_diff", path="notes.txt")
    assert "-The deploy window is Tuesday." in found["diff"] and "+The deploy window is Friday." in found["diff"]
    assert found["replaced_at"].endswith("Z")
    other = docs.get("docs_diff", path="notes.txt", other_path="guide.md")
    assert other["before"] == "notes.txt" and other["after"] == "guide.md" and "+# Guide" in other["diff"]
    (docs.root / "copy.txt").write_text("The deploy window is Friday.\n")
    assert docs.text("docs_diff", path="notes.txt", other_path="copy.txt") == "[the documents do not differ]"


def test_the_difference_of_a_removed_document_is_its_text(docs: Any) -> None:
    docs.get("docs_reindex")
    (docs.root / "notes.txt").unlink()
    assert "-The deploy window is Tuesday." in docs.get("docs_diff", path="notes.txt")["diff"]


def test_a_long_difference_is_cut_and_says_so(docs: Any) -> None:
    (docs.root / "long.txt").write_text("".join(f"line {n}\n" for n in range(20_000)))
    found = docs.get("docs_diff", path="notes.txt", other_path="long.txt")
    assert found["truncated"] and len(found["diff"]) <= 60_000
    assert docs.text("docs_diff", path="notes.txt", other_path="long.txt").endswith("[the diff is longer]")


def test_one_file_and_one_folder_can_be_indexed(docs: Any) -> None:
    report = docs.get("docs_index_file", path="app")
    assert report["added"] == 1 and report["paths"] == ["app/run.py"]
    assert docs.get("docs_health")["documents"] == 1
    assert (
        docs.get("docs_index_file", path="app/run.py")["changed"] + docs.get("docs_index_file", path="app")["unchanged"]
    )
    assert "no such document" in docs.error("docs_index_file", path="none.md")
    assert "1 added" in docs.text("docs_index_file", path="notes.txt")


def test_indexing_says_what_it_did_and_what_it_left_out(docs: Any) -> None:
    (docs.root / "broken.pdf").write_bytes(b"%PDF-1.7 not really")
    report = docs.get("docs_reindex")
    assert report["added"] == 5 and report["vectors"] == "off" and report["rebuilt"] is None
    assert [each["path"] for each in report["skipped"]] == ["broken.pdf"]
    again = docs.get("docs_reindex")
    assert again["added"] == again["changed"] == 0 and again["unchanged"] == 5
    assert "skipped broken.pdf: " in docs.text("docs_reindex", force=True)


def test_health_before_and_after_indexing(docs: Any) -> None:
    before = docs.get("docs_health")
    assert before["status"] == "degraded" and "docs_reindex" in before["problems"][0] and before["refreshed_at"] is None
    docs.get("docs_reindex")
    docs.get("memory_upsert", text="a fact")
    after = docs.get("docs_health")
    assert after["status"] == "ok" and after["documents"] == 5 and after["facts"] == 1 and after["embeddings"] is None
    text = docs.text("docs_health")
    assert text.startswith("ok: 5 documents of ") and "set EMBED_MODEL" in text and "1 facts" in text


def test_a_root_that_is_gone_for_a_while_loses_nothing(docs: Any) -> None:
    docs.get("docs_reindex")
    away = docs.root.with_name("away")
    docs.root.rename(away)
    found = docs.get("docs_search", query="deploy window")
    assert [each["path"] for each in found["matches"]] == ["notes.txt"] and "may be old" in found["notes"][0]
    assert "is not there" in docs.get("docs_health")["problems"][0]
    assert docs.error("docs_reindex")
    away.rename(docs.root)
    assert docs.get("docs_reindex")["unchanged"] == 5 and docs.get("docs_health")["status"] == "ok"


def test_two_servers_share_one_index(make: Callable[..., Any]) -> None:
    one, two = make(), make()
    assert one.found("deploy window") == two.found("deploy window") == ["notes.txt"]
    (one.root / "notes.txt").write_text("The release window is Friday.\n")
    assert two.found("release window")[0] == one.found("release window")[0] == "notes.txt"


def test_another_part_size_is_a_new_index(make: Callable[..., Any]) -> None:
    make().get("docs_reindex")
    report = make(chunk_size=200, chunk_overlap=50).get("docs_reindex")
    assert report["rebuilt"] and report["added"] + report["changed"] == 5
    assert "indexed again: " in make(chunk_size=300).text("docs_reindex")


def test_a_file_that_is_no_index_is_refused_and_left_alone(docs: Any) -> None:
    docs.settings.db.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(docs.settings.db)) as connection:
        connection.executescript("CREATE TABLE mine (a); INSERT INTO mine VALUES (7)")
    text = docs.error("docs_search", query="x")
    assert str(docs.settings.db) in text and "another program" in text
    with closing(sqlite3.connect(docs.settings.db)) as connection:
        assert connection.execute("SELECT a FROM mine").fetchall() == [(7,)]


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc").is_dir(), reason="needs /proc")
def test_an_index_that_cannot_be_written_is_one_line(make: Callable[..., Any]) -> None:
    text = make(db="/proc/nothing/index.sqlite").error("docs_search", query="x")
    assert "cannot make the folder /proc/nothing" in text and "--db" in text
    assert "cannot make the folder" in make(memory_db="/proc/nothing/m.sqlite").error("memory_search", query="x")


def test_progress_is_reported_while_it_indexes(docs: Any) -> None:
    for number in range(1_500):
        (docs.root / f"f{number}.md").write_text(f"# Page {number}\n\nword{number} and others\n" * 20)
    reports = []

    async def note(done: float, total: float | None, message: str | None) -> None:
        reports.append((done, total, message))

    async def work(client: Client) -> Any:
        return await client.call_tool("docs_reindex", {}, progress_callback=note)

    assert docs.talk(work).structured_content["added"] == 1_505
    assert reports and all(0 <= done <= (total or 0) and message for done, total, message in reports)
    assert [each[0] for each in reports] == sorted(each[0] for each in reports)


def test_a_cancelled_call_ends_and_leaves_a_whole_index(docs: Any) -> None:
    for number in range(1_500):
        (docs.root / f"f{number}.md").write_text(f"# Page {number}\n\nword{number} and others\n" * 20)
    begun = asyncio.Event()

    async def note(*_: object) -> None:
        begun.set()

    async def work(client: Client) -> Any:
        call = asyncio.create_task(client.call_tool("docs_reindex", {}, progress_callback=note))
        await asyncio.wait_for(begun.wait(), 30)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        health = (await client.call_tool("docs_health", {})).structured_content
        assert health is not None and health["documents"] < 1_505
        return (await client.call_tool("docs_reindex", {})).structured_content

    report = docs.talk(work)
    assert report["rebuilt"] is None and report["added"] > 0 and report["added"] + report["unchanged"] == 1_505


def test_a_damaged_index_is_made_again_and_a_note_says_so(make: Callable[..., Any]) -> None:
    docs = make()
    docs.settings.db.parent.mkdir(parents=True)
    script = (
        "import sys\nfrom docs_memory_mcp import Library, load_settings\n"
        "with_index = Library(load_settings(root=sys.argv[1], db=sys.argv[2], environment={}))\n"
        "with_index.reindex(); with_index.close(); with_index.close()\n"
    )
    subprocess.run([sys.executable, "-c", script, str(docs.root), str(docs.settings.db)], check=True)
    size = docs.settings.db.stat().st_size
    with docs.settings.db.open("r+b") as file:
        file.seek(size // 4)
        file.write(b"\xff" * (size // 2))
    found = docs.get("docs_search", query="deploy window")
    assert [each["path"] for each in found["matches"]] == ["notes.txt"]
    assert any("damaged" in note for note in found["notes"])
    assert list(docs.settings.db.parent.glob("index.sqlite.damaged-*"))


def test_a_folder_without_documents_says_so(docs: Any) -> None:
    for each in docs.root.iterdir():
        if each.is_file():
            each.unlink()
    (docs.root / "app" / "run.py").unlink()
    assert "no documents are indexed" in docs.get("docs_search", query="x")["notes"][0]


@pytest.mark.parametrize(
    ("tool", "arguments", "text"),
    [
        ("docs_search", {"query": " "}, "the query is empty"),
        ("docs_search", {"query": "a", "top_k": 0}, "top_k is 1 to 50"),
        ("docs_search", {"query": "a", "top_k": 51}, "top_k is 1 to 50"),
        ("docs_search", {"query": ["a"]}, "query"),
        ("docs_search", {}, "query"),
        ("docs_read", {"path": "guide.md", "first_line": 0}, "first_line"),
        ("docs_read", {"path": "guide.md", "first_line": 99}, "9 lines"),
        ("docs_read", {"path": "guide.md", "max_lines": 0}, "max_lines"),
        ("docs_read", {"path": 3}, "path"),
        ("docs_index_file", {"path": "../x"}, "'..' is not allowed"),
    ],
)
def test_bad_arguments_are_refused_in_a_sentence(docs: Any, tool: str, arguments: dict[str, Any], text: str) -> None:
    said = docs.error(tool, **arguments)
    assert text in said and len(said) < 500 and "Traceback" not in said
