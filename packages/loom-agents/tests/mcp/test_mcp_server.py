"""The frame of the MCP servers: as a process over stdio and over HTTP, with the official client."""

import asyncio
import getpass
import hashlib
import json
import logging
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE
from typing import Any

import httpx2
import pytest
from loom_agents.mcp_server import new_server

TYPED = str(Path(__file__).parent / "servers" / "typed.py")
HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    tokens = tmp_path_factory.mktemp("tokens") / "tokens.toml"
    tokens.write_text(
        f'[alice]\nsha256 = "{digest("a-token")}"\nscopes = ["read", "run"]\n'
        f'[bob]\nsha256 = "{digest("b-token")}"\nscopes = ["read"]\n'
    )
    tokens.chmod(0o600)
    command = [sys.executable, TYPED, "--transport", "http", "--token-file", str(tokens)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        yield process.stderr.readline().split()[-1]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0


async def call(address: str, token: str, tool: str) -> Any:
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client

    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http,
        Client(streamable_http_client(address, http_client=http)) as client,
    ):
        return await client.call_tool(tool, {})


def test_over_stdio_the_caller_is_the_user_and_prints_are_harmless() -> None:
    async def work() -> None:
        from mcp import Client, StdioServerParameters

        async with Client(StdioServerParameters(command=sys.executable, args=[TYPED])) as client:
            found = await client.call_tool("who", {})
            assert found.structured_content == {"interface": "os", "name": getpass.getuser()}
            assert (await client.call_tool("start", {})).is_error is False

    asyncio.run(work())


def test_over_http_the_caller_is_the_owner_of_the_token(address: str) -> None:
    found = asyncio.run(call(address, "a-token", "who"))
    assert found.structured_content == {"interface": "token", "name": "alice"}
    assert asyncio.run(call(address, "a-token", "start")).content[0].text == "alice"


def test_a_token_without_the_scope_gets_an_error_that_says_so(address: str) -> None:
    refused = asyncio.run(call(address, "b-token", "start"))
    assert refused.is_error
    assert "the token of 'bob' does not have the scope 'run'" in refused.content[0].text


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}, {"authorization": "Basic a-token"}])
def test_without_a_valid_token_nothing_is_answered(address: str, headers: dict[str, str]) -> None:
    found = httpx2.post(address, headers=headers, json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert found.status_code == 401
    assert "Authorization: Bearer TOKEN" in found.json()["error"]["message"]


def test_a_request_for_another_host_is_refused(address: str) -> None:
    found = httpx2.post(address, headers={"host": "evil.example", "authorization": "Bearer a-token"}, json={})
    assert found.status_code == 421


def test_a_session_cannot_be_used_with_the_token_of_somebody_else(address: str) -> None:
    def post(token: str, body: dict[str, Any], **headers: str) -> httpx2.Response:
        accept = {"accept": "application/json, text/event-stream", "authorization": f"Bearer {token}"}
        return httpx2.post(address, headers=accept | headers, json={"jsonrpc": "2.0", **body})

    opened = post("a-token", {"id": 1, "method": "initialize", "params": HELLO})
    session = {"mcp-session-id": opened.headers["mcp-session-id"], "mcp-protocol-version": "2025-06-18"}
    assert post("a-token", {"method": "notifications/initialized"}, **session).status_code == 202
    listing = {"id": 2, "method": "tools/list"}
    assert post("a-token", listing, **session).status_code == 200
    assert post("b-token", listing, **session).status_code == 404


@pytest.mark.parametrize(("number", "code"), [(None, 0), (signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_the_end_of_stdin_and_signals_end_the_process_at_once(number: int | None, code: int) -> None:
    with subprocess.Popen([sys.executable, TYPED], stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO}) + "\n")
        process.stdin.flush()
        assert '"serverInfo"' in process.stdout.readline()
        if number is None:
            process.stdin.close()
        else:
            process.send_signal(number)
        assert process.wait(timeout=4) == code  # not after the grace time
        assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--transport http --host 0.0.0.0", "others can reach it, and there is no token file"),
        ("--transport http --token-file none.toml", "cannot read none.toml: no such file"),
        ("<&-", "stdin is closed. Start it from an MCP client"),
    ],
)
def test_what_cannot_be_served_is_one_line(words: str, said: str) -> None:
    command = f"exec {shlex.quote(sys.executable)} {shlex.quote(TYPED)} {words}"
    ended = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 2
    assert said in ended.stderr and ended.stderr.count("\n") == 1
    assert "internal error" not in ended.stderr


def test_creating_a_server_leaves_the_logging_of_the_process_alone() -> None:
    before = (logging.getLogger().level, list(logging.getLogger().handlers))
    new_server("quiet", version="1", instructions="")
    assert (logging.getLogger().level, list(logging.getLogger().handlers)) == before


def test_the_help_loads_no_library() -> None:
    code = f"import runpy, sys; sys.argv = ['typed', '--help']\ntry: runpy.run_path({TYPED!r}, run_name='__main__')\n"
    code += "except SystemExit: pass\nprint(sorted({'mcp', 'uvicorn', 'starlette', 'pydantic'} & sys.modules.keys()))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "--transport [stdio|http]" in output
    assert output.endswith("[]\n")
