"""Streamable HTTP on loopback: the caller is the subject of the token."""

import asyncio
import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

pytestmark = pytest.mark.slow


@pytest.fixture
def url(site: Any) -> Iterator[str]:
    text = ""
    for name in ("alice", "bob"):
        text += (
            f'[{name}]\nsha256 = "{hashlib.sha256(name.encode()).hexdigest()}"\nscopes = ["read", "run", "approve"]\n'
        )
    tokens = site.folder / "tokens.toml"
    tokens.write_text(text)
    tokens.chmod(0o600)
    words = ["--transport", "http", "--port", "0", "--token-file", str(tokens)]
    process = subprocess.Popen(
        [sys.executable, "-m", "ops_runtime_mcp", *words], cwd=site.folder, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    found = re.search(r"http://\S+mcp", process.stderr.readline())
    assert found is not None
    yield found[0]
    process.terminate()
    process.communicate(timeout=20)


def test_requester_and_approver_are_the_subjects_of_their_tokens(site: Any, url: str, answers: Any) -> None:
    async def as_token(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {name}"}, trust_env=False)
        async with (
            http,
            Client(streamable_http_client(url, http_client=http), elicitation_callback=answers()) as client,
        ):
            result = await client.call_tool("execute_runbook_step", arguments)
            return dict(result.structured_content or {"error": result.content[0].text})  # type: ignore[union-attr]  # a text

    async def work() -> None:
        asked = await as_token("bob", site.words("guarded"))
        assert asked["approvals"][0]["requester"] == "bob" and not asked["approvals"][0]["you_may_approve"]
        other = await as_token("alice", {**site.words("guarded"), "run_id": asked["run_id"]})
        assert "bob requested it, and not alice" in other["error"]
        done = await as_token("bob", site.words("fix"))
        assert done["status"] == "done" and site.ran == ["fix api"]

    asyncio.run(work())
    with httpx2.Client(trust_env=False) as http:
        assert http.post(url, json={}).status_code == 401
