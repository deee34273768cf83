import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp.types import CallToolResult
from rule_based_verifier import Settings, build_server

Make = Callable[..., Settings]
SLEEPER = "import sys, time; print('begun', flush=True); time.sleep(60)"


def with_client(settings: Settings, use: Callable[[Client], Awaitable[Any]]) -> Any:
    async def connected() -> Any:
        async with Client(build_server(settings)) as client:
            return await use(client)

    return asyncio.run(connected())


def call(settings: Settings, name: str, **arguments: Any) -> CallToolResult:
    return with_client(settings, lambda client: client.call_tool(name, arguments))


def value(result: CallToolResult) -> dict[str, Any]:
    assert not result.is_error, result.content
    assert result.structured_content is not None
    return result.structured_content


def error(result: CallToolResult) -> str:
    assert result.is_error
    return result.content[0].text


def test_the_tools_have_schemas_and_true_hints(shop: Settings) -> None:
    tools = {tool.name: tool for tool in with_client(shop, lambda client: client.list_tools()).tools}
    assert list(tools) == [
        *("verifier_health", "read_repo_file", "search_codebase"),
        *("run_tests", "run_lint", "semantic_trace"),
    ]
    assert list(tools["search_codebase"].input_schema["properties"]) == ["pattern", "glob_pattern", "max_results"]
    assert tools["search_codebase"].input_schema["required"] == ["pattern"]
    assert tools["run_tests"].output_schema["properties"]["verdict"]["enum"] == ["pass", "fail", "cannot_tell"]
    for name, tool in tools.items():
        hints = tool.annotations
        runs = name in ("run_tests", "run_lint", "semantic_trace")
        assert tool.output_schema is not None and tool.description
        assert (hints.read_only_hint, hints.idempotent_hint, hints.destructive_hint) == (not runs, not runs, runs)


def test_health_names_runners_limits_and_trust(shop: Settings) -> None:
    found = value(call(shop, "verifier_health"))
    assert (found["status"], found["trusted"], found["problems"]) == ("ok", True, [])
    assert [(each["name"], each["gate"], each["may_run"]) for each in found["runners"]] == [
        ("pytest", "tests", True),
        ("ruff", "lint", True),
    ]
    assert "-k" in found["runners"][0]["allowed_options"]


def test_health_of_a_root_that_is_not_trusted_says_what_to_do(make: Make) -> None:
    result = call(make({"test_a.py": ""}, trust=False), "verifier_health")
    found = value(result)
    assert (found["status"], found["trusted"]) == ("degraded", False)
    assert found["trust_command"].endswith("--trust") and found["trust_command"] in result.content[0].text
    assert [each["may_run"] for each in found["runners"]] == [False, True]


def test_a_gate_has_a_verdict_for_programs_and_a_text_for_people(shop: Settings) -> None:
    result = call(shop, "run_tests", extra_args=["test_shop.py::test_price"])
    assert value(result)["verdict"] == "pass"
    assert value(result)["evidence"][0]["counts"]["passed"] == 1
    assert result.content[0].text.startswith("tests: pass (1 passed)\n$ ")


def test_lint_and_trace_have_structured_results(shop: Settings) -> None:
    assert value(call(shop, "run_lint"))["verdict"] in ("pass", "fail")
    traced = value(call(shop, "semantic_trace", target="shop:price", arguments=["pen"]))
    assert (traced["value"], traced["trace"]["format"]) == (6, "flow-xray/1")


def test_refused_arguments_are_errors_with_the_reason(shop: Settings) -> None:
    text = error(call(shop, "run_tests", extra_args=["-p", "evil"]))
    assert "not on the list of allowed options" in text and "--test-cmd" in text
    assert "cannot trace" in error(call(shop, "semantic_trace", target="nothing"))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("read_repo_file", {}),
        ("read_repo_file", {"relative_path": ["a"]}),
        ("search_codebase", {"pattern": "x", "max_results": "many"}),
        ("run_tests", {"extra_args": "-x; id"}),
        ("run_tests", {"extra_args": [1]}),
        ("semantic_trace", {"target": "shop:price", "arguments": "pen"}),
        ("no_such_tool", {}),
    ],
)
def test_wrong_types_are_errors(shop: Settings, name: str, arguments: dict[str, Any]) -> None:
    with_client(shop, lambda client: expect_error(client, name, arguments))


async def expect_error(client: Client, name: str, arguments: dict[str, Any]) -> None:
    try:
        result = await client.call_tool(name, arguments)
    except MCPError:
        return
    assert result.is_error


# ------------------------------------------------------------------ reading


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    root = tmp_path_factory.mktemp("files").resolve()
    (root / "a.txt").write_text("".join(f"line {number}\n" for number in range(1, 1001)))
    (root / "odd.txt").write_text("plain\nkey = ghp_" + "a1B2c3D4e5" * 3 + "f6G7h8\n\x1b[2J\n")
    (root / "binary").write_bytes(b"\x00\x01")
    (root / "trap.txt").write_text("a" * 40 + "!\n")
    (root / ".env").write_text("SECRET=1\n")
    (root / "out").symlink_to("/etc/hostname")
    os.mkfifo(root / "pipe")
    return Settings(root, max_read_bytes=2_000, search_timeout_s=0.5)


def test_a_long_file_is_read_in_parts(files: Settings) -> None:
    first = value(call(files, "read_repo_file", relative_path="a.txt"))
    assert first["truncated"] and first["total_lines"] == 1000 and len(first["text"]) <= 2_000
    then = value(call(files, "read_repo_file", relative_path="a.txt", first_line=first["next_line"]))
    assert then["text"].startswith(f"line {first['lines'] + 1}\n") and then["is_exact"]


def test_what_is_read_is_masked_and_said_to_be(files: Settings) -> None:
    page = value(call(files, "read_repo_file", relative_path="odd.txt"))
    assert "ghp_" not in page["text"] and "\\x1b[2J" in page["text"] and not page["is_exact"]
    key = ["-----BEGIN PRIVATE KEY-----", *["MIIE" + "x1Y2" * 15] * 20, "-----END PRIVATE KEY-----"]
    (files.root / "settings.yaml").write_text("key: |\n  " + "\n  ".join(key) + "\nport: 80\n")
    inside = value(
        call(replace(files, max_read_bytes=500), "read_repo_file", relative_path="settings.yaml", first_line=9)
    )
    assert "MIIE" not in inside["text"] and not inside["is_exact"]
    assert not value(call(files, "search_codebase", pattern="MIIE"))["matches"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("../x", "'..' is not allowed"),
        ("/etc/passwd", "outside the workspace"),
        ("out", "outside the workspace through a link"),
        (".env", "may hold secrets"),
        ("binary", "not a text file"),
        ("pipe", "special file"),
        ("missing", "no such file"),
        ("", "is empty"),
        ("a\0b", "NUL"),
    ],
)
def test_what_cannot_be_read_is_an_error_with_the_reason(files: Settings, path: str, text: str) -> None:
    assert text in error(call(files, "read_repo_file", relative_path=path))


def test_a_search_names_path_line_and_how_many_there_are(files: Settings) -> None:
    result = call(files, "search_codebase", pattern="line 99[0-9]$", max_results=3)
    found = value(result)
    assert (found["total"], found["truncated"]) == (10, True)
    assert found["matches"][0] == {"path": "a.txt", "line": 990, "text": "line 990"}
    assert "[3 of 10 matches]" in result.content[0].text


@pytest.mark.parametrize(
    ("pattern", "limit", "text"),
    [
        ("(a+)+$", 5, "took longer than 0.5 s"),
        ("(", 5, "not a regular expression"),
        ("a", 0, "at least 1"),
        ("a", 999, "at most 200"),
    ],
)
def test_a_search_that_cannot_be_done_is_an_error(files: Settings, pattern: str, limit: int, text: str) -> None:
    assert text in error(call(files, "search_codebase", pattern=pattern, glob_pattern="trap.txt", max_results=limit))


def test_a_root_that_disappears(make: Make) -> None:
    settings = replace(make({"a.py": ""}), root=Path("/nonexistent/root"))
    for name, arguments in [
        ("read_repo_file", {"relative_path": "a.py"}),
        ("search_codebase", {"pattern": "a"}),
        ("run_tests", {}),
        ("run_lint", {}),
        ("semantic_trace", {"target": "a:f"}),
    ]:
        assert "no longer a folder" in error(call(settings, name, **arguments))
    assert value(call(settings, "verifier_health"))["status"] == "unavailable"


# ------------------------------------------------------------------ progress, cancel


def test_progress_is_reported_and_a_client_that_stops_waiting_ends_the_processes(make: Make) -> None:
    mark = f"server-{os.getpid()}"
    settings = make({"x": ""}, test_command=("python3", "-c", SLEEPER, mark), timeout_s=60.0)
    seen: list[tuple[float, float | None, str | None]] = []
    reported = asyncio.Event()

    async def note(done: float, total: float | None, message: str | None) -> None:
        seen.append((done, total, message))
        reported.set()

    async def stop(client: Client) -> None:
        with pytest.raises(MCPError):
            await client.call_tool("run_tests", {}, read_timeout_seconds=0.7, progress_callback=note)
        for _ in range(100):
            if not running(mark):
                break
            await asyncio.sleep(0.05)
        assert not running(mark)
        # The lock is free again.
        assert not (await client.call_tool("run_lint", {})).is_error

    with_client(settings, stop)
    assert seen and seen[0][1] == 60.0 and "lines of output" in str(seen[0][2])


def running(mark: str) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if mark.encode() in words:
            found.append(folder.name)
    return found
