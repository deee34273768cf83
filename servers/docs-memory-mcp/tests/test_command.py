"""The command: `.mcp.json` of the README, stdio, HTTP with tokens, and what it says of bad
input.
"""

import asyncio
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

COMMAND = str(Path(sys.executable).parent / "docs-memory-mcp")
README = Path(__file__).parent.parent / "README.md"


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "XDG_STATE_HOME": str(folder / "home"), **more}


def test_the_entry_of_the_readme_serves_the_folder_as_it_stands(docs: Any, tmp_path: Path) -> None:
    (entry,) = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", README.read_text(), re.DOTALL)]
    ((name, server),) = entry["mcpServers"].items()
    path = f"{Path(COMMAND).parent}{os.pathsep}{os.environ['PATH']}"
    parameters = StdioServerParameters(
        **server, cwd=docs.root, env={"PATH": path, "XDG_STATE_HOME": str(tmp_path / "home")}
    )

    async def use() -> None:
        async with Client(parameters) as client:
            tools = [each.name for each in (await client.list_tools()).tools]
            assert name == "docs-memory" and sorted(tools) == sorted(
                re.findall(r"^\| `(\w+)` \|", README.read_text(), re.MULTILINE)
            )
            found = await client.call_tool("docs_search", {"query": "deploy window"})
            assert found.structured_content is not None and found.structured_content["total"] == 1
            await client.call_tool("memory_upsert", {"text": "a fact"})

    asyncio.run(use())
    assert not list(docs.root.glob("*.sqlite*")) and len(list((tmp_path / "home").rglob("memory.sqlite"))) == 1


def test_every_tool_has_a_schema_a_text_and_hints(docs: Any) -> None:
    async def tools(client: Client) -> Any:
        return (await client.list_tools()).tools

    for tool in docs.talk(tools):
        assert tool.description and tool.output_schema and tool.annotations is not None, tool.name
        assert tool.annotations.open_world_hint is False
        assert all(f"{name}: " in tool.description for name in tool.input_schema["properties"]), tool.name


@pytest.mark.slow
def test_over_http_every_call_needs_the_scope_of_its_tool(docs: Any, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(
        "".join(
            f'[{name}]\nsha256 = "{hashlib.sha256(name.encode()).hexdigest()}"\nscopes = {json.dumps(scopes)}\n'
            for name, scopes in {"reader": ["read"], "alice": ["read", "run"]}.items()
        )
    )
    tokens.chmod(0o600)
    words = ["--root", str(docs.root), "--transport", "http", "--port", "0", "--token-file", str(tokens)]

    async def use(address: str) -> None:
        async with httpx2.AsyncClient(trust_env=False) as http:
            assert (await http.post(address, json={})).status_code == 401
        reader = httpx2.AsyncClient(headers={"Authorization": "Bearer reader"}, trust_env=False)
        async with reader, Client(streamable_http_client(address, http_client=reader)) as client:
            assert not (await client.call_tool("docs_search", {"query": "deploy"})).is_error
            for tool, arguments in [
                ("docs_index_file", {"path": "guide.md"}),
                ("docs_reindex", {}),
                ("memory_upsert", {"text": "x"}),
                ("memory_forget", {"number": 1}),
                ("memory_profile_upsert", {"values": {"a": "b"}}),
                ("wiki_export", {}),
            ]:
                refused = await client.call_tool(tool, arguments)
                assert refused.is_error and "does not have the scope 'run'" in refused.content[0].text
        writer = httpx2.AsyncClient(headers={"Authorization": "Bearer alice"}, trust_env=False)
        async with writer, Client(streamable_http_client(address, http_client=writer)) as client:
            fact = (await client.call_tool("memory_upsert", {"text": "x", "source": "chat"})).structured_content
            assert fact is not None and "alice, chat" in fact["source"]

    with subprocess.Popen([COMMAND, *words], stderr=subprocess.PIPE, text=True, env=environment(tmp_path)) as server:
        assert server.stderr is not None
        asyncio.run(use(server.stderr.readline().split()[-1]))
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=10) == 0


@pytest.mark.slow
def test_killed_while_it_indexes_the_next_start_ends_the_work(docs: Any, tmp_path: Path) -> None:
    for number in range(600):
        (docs.root / f"f{number}.md").write_text(f"# Page {number}\n\nword{number} and others\n" * 40)
    script = (
        "import sys\nfrom docs_memory_mcp import Library, load_settings\n"
        "library = Library(load_settings(root=sys.argv[1], db=sys.argv[2], environment={}))\n"
        "library.reindex(progress=lambda done, total, path: print(done, flush=True))\n"
    )
    words = [sys.executable, "-c", script, str(docs.root), str(docs.settings.db)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if int(line) >= 200:
                child.kill()
                break
    report = docs.get("docs_reindex")
    assert report["rebuilt"] is None and report["added"] + report["unchanged"] == 605
    assert docs.get("docs_health")["status"] == "ok" and docs.found("word599")[0] == "f599.md"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "more", "text"),
    [
        (["--root", "none"], {}, "is not a folder. Name one with --root or DOCS_ROOT"),
        (["--chunk-size", "1"], {}, "CHUNK_SIZE is at least 100"),
        (["--chunk-size", "x"], {}, "not a valid integer"),
        ([], {"RAG_TOP_K": "x"}, "not a whole number"),
        (["--port", "99999", "--transport", "http"], {}, "99999"),
        (["--no-such-option"], {}, "No such option"),
    ],
)
def test_bad_input_ends_the_command_with_one_line(
    tmp_path: Path, words: list[str], more: dict[str, str], text: str
) -> None:
    done = subprocess.run(
        [COMMAND, *words], cwd=tmp_path, env=environment(tmp_path, **more), capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 2 and done.stdout == "" and text in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and "internal error" not in done.stderr


def test_without_the_embeddings_server_the_answer_is_by_words_and_says_so(make: Callable[..., Any]) -> None:
    docs = make(embed_model="nomic-embed-text", embed_url="http://127.0.0.1:9")
    found = docs.get("docs_search", query="deploy window")
    assert found["matches"][0]["path"] == "notes.txt"
    assert any("words only" in note for note in found["notes"])
    assert any("vectors are incomplete" in note and "127.0.0.1:9" in note for note in found["notes"])
    assert any("have no vector" in each for each in docs.get("docs_health")["problems"])


def test_without_the_extra_the_answer_is_by_words_and_says_so(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    found = make(embed_model="wordllama").get("docs_search", query="deploy window")
    assert found["matches"][0]["path"] == "notes.txt"
    assert any("pip install 'loom-agents[vectors]'" in note for note in found["notes"])
