"""The command as a real process: its options, stdio, and what is left when somebody is killed."""

import asyncio
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from rule_based_verifier import SettingsError, load_settings

COMMAND = str(Path(sys.executable).parent / "rule-based-verifier")
CLIENT = """
import asyncio, sys
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters

async def main():
    config, command, *words = sys.argv[1:]
    server = StdioServerParameters(command=command, args=words, env={"XDG_CONFIG_HOME": config})
    async with Client(server) as client:
        await client.call_tool("run_tests", {})

asyncio.run(main())
"""

# It starts a second one, which leaves its process group.
SLEEPER = """
import subprocess, sys, time
if len(sys.argv) == 2:
    subprocess.Popen([sys.executable, *sys.argv, "second"], start_new_session=True)
time.sleep(99)
"""


def words_of(process: str) -> list[str]:
    try:
        return Path("/proc", process, "cmdline").read_bytes().decode().split("\0")
    except OSError:
        return []


def running(mark: str) -> list[str]:
    return [folder.name for folder in Path("/proc").glob("[0-9]*") if mark in words_of(folder.name)]


def wait_for(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_a_root_is_trusted_and_then_served_with_the_entry_of_the_readme(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "test_a.py").write_text("def test_a():\n    pass\n")
    environment = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    told = subprocess.run(
        [COMMAND, "--trust"],
        env={**os.environ, **environment, "RULE_BASED_WORKSPACE_ROOT": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{root} is trusted. This may run: " in told.stdout

    text = (Path(__file__).parents[1] / "README.md").read_text()
    entry = json.loads(text.partition("```json\n")[2].partition("```")[0])["mcpServers"]["rule-based-verifier"]
    environment["PATH"] = f"{Path(COMMAND).parent}{os.pathsep}{os.environ['PATH']}"

    async def use() -> None:
        server = StdioServerParameters(**entry, env=environment, cwd=root)
        async with Client(server) as client:
            result = await client.call_tool("run_tests", {})
            assert result.structured_content["verdict"] == "pass"

    asyncio.run(use())


def test_over_http_a_token_that_may_only_read_runs_nothing(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(f'[bob]\nsha256 = "{hashlib.sha256(b"b-token").hexdigest()}"\nscopes = ["read"]\n')
    tokens.chmod(0o600)
    words = ["--root", str(tmp_path), "--transport", "http", "--port", "0", "--token-file", str(tokens)]

    async def use(address: str) -> None:
        async with (
            httpx2.AsyncClient(headers={"Authorization": "Bearer b-token"}) as http,
            Client(streamable_http_client(address, http_client=http)) as client,
        ):
            assert not (await client.call_tool("verifier_health", {})).is_error
            for tool, arguments in [("run_tests", {}), ("run_lint", {}), ("semantic_trace", {"target": "a:f"})]:
                refused = await client.call_tool(tool, arguments)
                assert refused.is_error and "does not have the scope 'run'" in refused.content[0].text

    with subprocess.Popen([COMMAND, *words], stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        asyncio.run(use(server.stderr.readline().split()[-1]))
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=10) == 0


@pytest.mark.parametrize("victim", ["client", "server"])
def test_no_process_is_left_when_the_client_or_the_server_is_killed(tmp_path: Path, victim: str) -> None:
    mark = f"killed-{victim}-{os.getpid()}-{time.monotonic_ns()}"
    root, config = tmp_path / mark, str(tmp_path / "config")
    root.mkdir()
    (root / "sleeper.py").write_text(SLEEPER)
    words = ["--root", str(root), "--test-cmd", f"{sys.executable} sleeper.py {mark}"]
    subprocess.run([COMMAND, *words, "--trust"], env={**os.environ, "XDG_CONFIG_HOME": config}, check=True)
    client = subprocess.Popen([sys.executable, "-c", CLIENT, config, COMMAND, *words], stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: len(running(mark)) >= 4)  # keeper, starter, and both sleepers
        (server,) = [each for each in running(str(root)) if COMMAND in words_of(each) and int(each) != client.pid]
        os.kill(client.pid if victim == "client" else int(server), signal.SIGKILL)
        wait_for(lambda: not running(mark) and not Path("/proc", server).exists())
    finally:
        client.kill()
        client.wait()


@pytest.mark.parametrize(
    ("arguments", "environment", "text"),
    [
        ({"root": "/nonexistent"}, {}, "not a folder"),
        ({"timeout_s": 0.0}, {}, "time limit"),
        ({}, {"RULE_BASED_CMD_TIMEOUT_SEC": "soon"}, "not a number"),
        ({}, {"RULE_BASED_CMD_TIMEOUT_SEC": "nan"}, "time limit"),
        ({}, {"RULE_BASED_MAX_READ_BYTES": "-1"}, "cannot read up to"),
        ({}, {"RULE_BASED_TEST_CMD": "pytest '"}, "Quote it"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(
    arguments: dict[str, object], environment: dict[str, str], text: str
) -> None:
    with pytest.raises(SettingsError, match=re.escape(text)):
        load_settings(**arguments, environment=environment)


def test_arguments_come_before_the_environment(tmp_path: Path) -> None:
    environment = {
        "RULE_BASED_WORKSPACE_ROOT": str(tmp_path),
        "RULE_BASED_TEST_CMD": "make 'the tests'",
        "RULE_BASED_LINT_CMD": "make lint",
        "RULE_BASED_CMD_TIMEOUT_SEC": "7.5",
        "RULE_BASED_MAX_READ_BYTES": "5000",
    }
    settings = load_settings(lint_cmd="ruff check", environment=environment)
    assert (settings.root, settings.test_command) == (tmp_path.resolve(), ("make", "the tests"))
    assert (settings.lint_command, settings.timeout_s, settings.max_read_bytes) == (("ruff", "check"), 7.5, 5000)


@pytest.mark.parametrize(
    "words", [["--root", "none"], ["--timeout-s", "0"], ["--test-cmd", "'"], ["--root", "none", "--trust"]]
)
def test_bad_input_ends_the_command_with_one_line(tmp_path: Path, words: list[str]) -> None:
    done = subprocess.run([COMMAND, *words], cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2 and done.stderr.startswith("cannot ")
    assert len(done.stderr.splitlines()) == 1 and "internal error" not in done.stderr
