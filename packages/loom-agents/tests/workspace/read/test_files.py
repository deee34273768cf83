import asyncio
import json
import os

import pytest
from loom_agents._errors import ToolError
from loom_agents._workspace.jail import Workspace
from loom_agents._workspace.read import files, grep_worker
from loom_agents._workspace.read.files import FileTools


@pytest.fixture
def tools(workspace: Workspace) -> FileTools:
    return FileTools(workspace)


def test_a_complete_file_is_read_and_not_marked_as_truncated(tools: FileTools) -> None:
    answer = tools.read_file("src/app.py")
    assert answer == {
        "path": "src/app.py",
        "text": "def add(a, b):\n    return a + b\n",
        "offset": 1,
        "lines": 2,
        "total": 2,
        "size_bytes": 32,
        "truncated": False,
        "next_offset": None,
    }


def test_pages_continue_without_a_gap(tools: FileTools, workspace: Workspace) -> None:
    (workspace.root / "long.txt").write_text("".join(f"line {n}\n" for n in range(1, 26)))
    text, offset = "", 1
    while offset:
        page = tools.read_file("long.txt", offset=offset, limit=10)
        assert page["total"] == 25
        text += page["text"]
        offset = page["next_offset"]
    assert text == (workspace.root / "long.txt").read_text()


def test_an_answer_has_a_bounded_size_for_any_limit(tools: FileTools, workspace: Workspace) -> None:
    (workspace.root / "big.txt").write_text(("x" * 99 + "\n") * 5000)
    page = tools.read_file("big.txt", limit=10_000)
    assert len(page["text"]) <= files.MAX_TEXT_CHARACTERS
    assert (page["truncated"], page["total"], page["next_offset"]) == (True, 5000, 401)


def test_a_line_of_many_megabytes_is_truncated_and_reported(tools: FileTools, workspace: Workspace) -> None:
    (workspace.root / "min.js").write_text("first\n" + "y" * 30_000_000 + "\nlast\n")
    page = tools.read_file("min.js")
    assert page["cut_lines"] == [2]
    assert page["truncated"] is True
    assert (page["total"], page["next_offset"]) == (3, None)
    assert page["text"].endswith("[line cut: 30000001 bytes]\nlast\n")
    assert len(page["text"]) < 3000


def test_a_line_of_exactly_one_read_is_one_line(tools: FileTools, workspace: Workspace) -> None:
    size = files.MAX_LINE_CHARACTERS * 4
    (workspace.root / "edge.txt").write_text("z" * size + "\n" + "end\n")
    assert tools.read_file("edge.txt")["total"] == 2


@pytest.mark.parametrize(("offset", "limit"), [(0, 10), (-1, 10), (3, 10), (1, 0), (1, -5)])
def test_a_page_that_does_not_exist_is_an_error(tools: FileTools, offset: int, limit: int) -> None:
    with pytest.raises(ToolError):
        tools.read_file("src/app.py", offset=offset, limit=limit)


def test_an_empty_file_has_no_lines(tools: FileTools, workspace: Workspace) -> None:
    (workspace.root / "empty.txt").touch()
    page = tools.read_file("empty.txt")
    assert (page["text"], page["total"], page["truncated"]) == ("", 0, False)


def test_a_binary_file_is_refused(tools: FileTools, workspace: Workspace) -> None:
    (workspace.root / "image.png").write_bytes(b"\x89PNG\0\0")
    with pytest.raises(ToolError, match="not a text file"):
        tools.read_file("image.png")


def test_bytes_that_are_not_utf8_are_replaced(tools: FileTools, workspace: Workspace) -> None:
    (workspace.root / "latin.txt").write_bytes(b"caf\xe9\n")
    assert tools.read_file("latin.txt")["text"] == "caf�\n"


def test_list_files_pages_and_counts(tools: FileTools) -> None:
    first = tools.list_files(limit=3)
    rest = tools.list_files(offset=first["next_offset"])
    assert (first["total"], first["truncated"], rest["truncated"]) == (8, True, False)
    assert len(first["files"]) + len(rest["files"]) == 8
    assert tools.list_files("*.md")["files"][0] == {"path": "README.md", "size_bytes": 89}


def test_grep_finds_lines_and_pages(tools: FileTools) -> None:
    found = asyncio.run(tools.grep("(?i)whales", "**/*.md", limit=2))
    assert found["matches"][0] == {"path": "README.md", "line": 3, "text": "A sample project about whales."}
    assert (found["total"], found["truncated"], found["next_offset"]) == (4, True, 2)
    assert len(asyncio.run(tools.grep("(?i)whales", "**/*.md", offset=2))["matches"]) == 2


def test_grep_never_shows_a_secret_or_an_ignored_file(tools: FileTools) -> None:
    assert asyncio.run(tools.grep("hunter2|Hidden"))["total"] == 0


def test_grep_shows_the_part_of_a_long_line_that_matches(tools: FileTools, workspace: Workspace) -> None:
    (workspace.root / "wide.txt").write_text("a" * 5000 + "needle" + "b" * 5000)
    [match] = asyncio.run(tools.grep("needle"))["matches"]
    assert "needle" in match["text"]
    assert len(match["text"]) < 320


def test_grep_reports_which_files_it_left_out(
    tools: FileTools, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "GREP_MAX_FILE_BYTES", 60)
    found = asyncio.run(tools.grep("whales"))
    assert found["skipped_files"] == 2


@pytest.mark.parametrize("pattern", ["(", "a{99999999999}", "(?P<x"])
def test_a_bad_pattern_is_an_error_for_the_model(tools: FileTools, pattern: str) -> None:
    with pytest.raises(ToolError, match="regular expression"):
        asyncio.run(tools.grep(pattern))


def test_a_pattern_that_never_ends_is_stopped(workspace: Workspace) -> None:
    tools = FileTools(workspace, grep_timeout_s=0.5)
    (workspace.root / "trap.txt").write_text("a" * 40 + "!\n")
    with pytest.raises(ToolError, match="took longer"):
        asyncio.run(tools.grep("(a+)+$", "trap.txt"))


def test_the_worker_reads_no_link_and_no_pipe(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace.root)
    os.mkfifo("pipe")
    (workspace.root / "binary").write_bytes(b"whales\0")
    paths = ["README.md", "link_out", "link_in", "pipe", "binary", "missing"]
    found = grep_worker.search(r"outside|whales", paths, 0, 10)
    assert [match["path"] for match in found["matches"]] == ["README.md"]
    assert grep_worker.search(r"whales", ["README.md"], 1, 10) == {"matches": [], "total": 1, "long_lines": 0}


def test_generated_lines_are_counted_and_not_searched(workspace: Workspace) -> None:
    (workspace.root / "trace.html").write_text("<p>whales</p>\n" + "whales " * 3_000)
    answer = asyncio.run(FileTools(workspace).grep("whales", "*.html"))
    assert ([match["line"] for match in answer["matches"]], answer["skipped_lines"]) == ([1], 1)


def test_an_answer_is_bounded_in_bytes_too(workspace: Workspace) -> None:
    (workspace.root / "wide.txt").write_text("äöü\n" * 100, encoding="utf-8")
    page = FileTools(workspace, max_text_bytes=70).read_file("wide.txt")
    assert (page["lines"], page["next_offset"]) == (10, 11)


KEY = ["-----BEGIN RSA PRIVATE KEY-----", *(f"MIIE{number:02}" + "x1Y2" * 14 for number in range(40))]


@pytest.mark.parametrize(
    "lines",
    [
        [*KEY, "-----END RSA PRIVATE KEY-----"],
        [f"    {line}" for line in [*KEY, "-----END RSA PRIVATE KEY-----"]],
        [f'    "{line}\\n" +' for line in [*KEY, "-----END RSA PRIVATE KEY-----"]],
        [
            KEY[0],
            "Proc-Type: 4,ENCRYPTED",
            "DEK-Info: AES-128-CBC,00112233",
            "",
            *KEY[1:],
            "-----END RSA PRIVATE KEY-----",
        ],
        ["PuTTY-User-Key-File-3: ssh-rsa", "Encryption: none", "Private-Lines: 14", *KEY[1:], "Private-MAC: 0011"],
    ],
)
def test_a_private_key_is_masked_on_every_page_and_not_searched(
    tools: FileTools, workspace: Workspace, lines: list[str]
) -> None:
    (workspace.root / "settings.txt").write_text("\n".join(["before = 1", *lines, "after = 2", ""]))
    shown: list[str] = []
    offset = 1
    while offset:
        page = tools.read_file("settings.txt", offset=offset, limit=7)
        shown += page["text"].splitlines()
        offset = page["next_offset"]
    assert len(shown) == len(lines) + 2 and (shown[0], shown[-1]) == ("before = 1", "after = 2")
    assert "MIIE" not in "\n".join(shown) and shown[-3] == "[redacted]"
    assert tools.read_file("settings.txt", offset=20, limit=3)["masked_lines"] == 3
    assert asyncio.run(tools.grep("MIIE"))["total"] == 0
    assert asyncio.run(tools.grep("before|after", "settings.txt"))["total"] == 2


def test_a_secret_is_not_cut_before_it_is_masked(tools: FileTools, workspace: Workspace) -> None:
    token = "ghp_" + "a1B2c3D4" * 5
    line = json.dumps({"a": "x" * 500, "password": "hunter2" * 8, "key": token, "walrus": "y" * 500})
    (workspace.root / "data.json").write_text(line + "\n")
    for pattern in ("walrus", "C3D4|c3D4", "hunter2", token[20:]):
        (found,) = asyncio.run(tools.grep(pattern, "data.json"))["matches"]
        assert "c3D4" not in found["text"] and "hunter" not in found["text"] and "[redacted]" in found["text"]


def test_a_long_line_of_a_key_is_one_masked_line(tools: FileTools, workspace: Workspace) -> None:
    (workspace.root / "one.txt").write_text("-----BEGIN PRIVATE KEY-----\n" + "x1Y2" * 9_000 + "\nport = 80 !\n")
    page = tools.read_file("one.txt", offset=2)
    assert page["text"] == "[redacted]\nport = 80 !\n" and page["lines"] == 2 and "cut_lines" not in page


def test_what_follows_the_words_of_a_private_key_in_prose_is_read(tools: FileTools, workspace: Workspace) -> None:
    text = "It begins with -----BEGIN PRIVATE KEY-----\nand nobody may see the rest.\nword\n"
    (workspace.root / "prose.md").write_text(text)
    assert tools.read_file("prose.md")["text"] == text


def test_a_long_line_after_the_beginning_of_a_key_takes_no_time(tools: FileTools, workspace: Workspace) -> None:
    text = "-----BEGIN PRIVATE KEY-----\n" + "n" * 1_500 + "/+\\n" * 100 + "!\n"
    (workspace.root / "slow.txt").write_text(text * 300)
    assert tools.read_file("slow.txt")["total"] == 600
