"""Drive each server with the official TypeScript client: `python -m tests.mcp_clients`.

Needs node and npm, and a network for the first time: the client is installed into
`build/mcp-clients`. Each server runs once over stdio and once over HTTP with a token. Every tool is
called; the client checks each result against the schema of its tool. Exit code 1 when something
differs from what is expected.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
BUILD = ROOT / "build" / "mcp-clients"
BIN = Path(sys.executable).parent
RUNBOOK = """---
loom: 1
title: Fix a service
kind: remedy
match: [fixit]
approvals:
  default: {group: oncall, count: 1, ttl: 30m, on_timeout: deny}
---
## Repair

```run id=fix undo=none timeout=20s
argv: [touch, fixed]
reason: it is broken
```
"""
RULES = "path: [/usr/bin, /bin]\nallow:\n  - {argv: [touch, fixed]}\n"
FILES = {
    "guide.md": "# Guide\n\nWe deploy on Tuesday.\n",
    "pyproject.toml": "[tool.pytest.ini_options]\n",
    "shop.py": "def price(n):\n    return n * 2\n",
    "test_shop.py": "import time\nimport shop\n\n\ndef test_price():\n    time.sleep(3)\n    assert shop.price(2) == 4\n",
    "runbooks/fix.md": RUNBOOK,
    "ops.rules.yaml": RULES,
    "loom-ops.toml": '[groups]\noncall = ["bob"]\n',
    **{f"pages/{n}.md": f"# Page {n}\n\nword{n} and others\n" * 20 for n in range(1_500)},
}


@dataclass(frozen=True)
class Call:
    """A call, and what its text has."""

    tool: str
    text: str
    arguments: dict[str, Any] = field(default_factory=dict)
    is_refused: bool = False
    has_progress: bool = False


@dataclass(frozen=True)
class Server:
    """A server: its command, the calls, and one that reports progress and is cancelled."""

    words: list[str]
    calls: list[Call]
    cancel: dict[str, Any] | None = None


SERVERS = [
    Server(
        ["docs-memory-mcp", "--root", "."],
        [
            Call("docs_reindex", "added", has_progress=True),
            Call("docs_search", "guide.md:3", {"query": "when is Tuesday"}),
            Call("docs_read", "We deploy", {"path": "guide.md"}),
            Call("docs_diff", "no earlier version", {"path": "guide.md"}),
            Call("docs_index_file", "1 changed", {"path": "guide.md"}),
            Call("docs_health", "ok: "),
            Call("memory_upsert", "> two people", {"text": "two people", "key": "deploy"}),
            Call("memory_search", "> two people", {"query": "people"}),
            Call("memory_profile_upsert", "> editor: vim", {"values": {"editor": "vim"}}),
            Call("memory_profile_get", "> editor: vim"),
            Call("wiki_read", "[note](note.md)"),
            Call("wiki_export", "wiki: "),
            Call("memory_forget", "there is none", {"number": 10**6}, is_refused=True),
            Call("docs_read", "'..' is not allowed", {"path": "../x"}, is_refused=True),
        ],
        cancel={"tool": "docs_reindex", "arguments": {"force": True}},
    ),
    Server(
        ["rule-based-verifier", "--root", "."],
        [
            Call("verifier_health", "trusted"),
            Call("read_repo_file", "def price", {"relative_path": "shop.py"}),
            Call("search_codebase", "shop.py:1", {"pattern": "def p"}),
            Call("run_tests", "tests: pass", has_progress=True),
            Call("run_lint", "lint: "),
            Call("semantic_trace", "price(n=4) -> 8", {"target": "shop:price", "arguments": [4]}),
            Call("run_tests", "cannot pass '-p'", {"extra_args": ["-p", "x"]}, is_refused=True),
        ],
        cancel={"tool": "run_tests"},
    ),
    Server(
        ["ops-runtime-mcp", "--db", "ops.sqlite"],
        [
            Call("list_runbooks", "Fix a service"),
            Call("execute_runbook_step", "waits for approval", {"runbook": "fix", "step": "fix", "run_id": "step-1"}),
            Call("approvals_pending", "step-1"),
            Call("run_status", "waiting for approval", {"run_id": "step-1"}),
            Call("explain_run", "step-1", {"run_id": "step-1"}),
            Call("similar_incidents", "", {"text": "fix"}),
            Call("check_service_health", "", {"service": "api"}),
            Call("run_status", "cannot", {"run_id": "none"}, is_refused=True),
        ],
    ),
]


def drive(spec: dict[str, Any]) -> dict[str, Any]:
    """Run the client; return what it found."""
    (BUILD / "spec.json").write_text(json.dumps(spec))
    done = subprocess.run(
        ["node", "client.mjs", "spec.json"], cwd=BUILD, capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"the client failed:\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout))


def problems_of(server: Server, found: dict[str, Any]) -> Iterator[str]:
    """Compare what the client found with what is expected."""
    tools = {tool["name"] for tool in found["tools"]}
    if missed := tools - {call.tool for call in server.calls}:
        yield f"not called: {', '.join(sorted(missed))}"
    yield from (
        f"{tool['name']} has no schema of its result" for tool in found["tools"] if not tool.get("outputSchema")
    )
    for call, result in zip(server.calls, found["results"], strict=True):
        if result["isError"] != call.is_refused or call.text not in result["text"]:
            yield f"{call.tool} {call.arguments}: {result['text'][:300]!r}"
        if not result["isError"] and not result.get("value"):
            yield f"{call.tool} has no structured content"
        if call.has_progress and not result["reports"]:
            yield f"{call.tool} reported no progress"
    if server.cancel and "enough" not in found["cancelled"]:
        yield f"{server.cancel['tool']} was not cancelled: {found['cancelled']}"


@contextmanager
def over_http(words: list[str], site: Path, environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """Serve over HTTP; yield the address and a token."""
    tokens = site.parent / "tokens.toml"
    hashed = hashlib.sha256(b"alice").hexdigest()
    tokens.write_text(f'[alice]\nsha256 = "{hashed}"\nscopes = ["read", "run"]\n')
    tokens.chmod(0o600)
    command = [*words, "--transport", "http", "--port", "0", "--token-file", str(tokens)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=site, env=environment) as process:
        assert process.stderr is not None
        try:
            yield {"url": process.stderr.readline().split()[-1], "token": "alice"}
        finally:
            process.terminate()


def drive_in(folder: Path, server: Server, transport: str) -> dict[str, Any]:
    """Make a site in a folder, and drive the server on it."""
    site = folder / "site"
    for name, text in FILES.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    environment = {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "HOME": str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "LOOM_OPS_ALLOW_SHELL": "1",
    }
    command, *arguments = str(BIN / server.words[0]), *server.words[1:]
    if server.words[0] == "rule-based-verifier":
        subprocess.run([command, *arguments, "--trust"], cwd=site, env=environment, check=True, capture_output=True)
    spec: dict[str, Any] = {
        "calls": [{"tool": call.tool, "arguments": call.arguments} for call in server.calls],
        "cancel": server.cancel,
    }
    if transport == "stdio":
        started = {"command": command, "args": arguments, "cwd": str(site), "env": environment}
        return drive({**spec, "server": started})
    with over_http([command, *arguments], site, environment) as address:
        return drive({**spec, "server": address})


def main() -> int:
    """Install the client, drive each server over both transports, and print what was found."""
    BUILD.mkdir(parents=True, exist_ok=True)
    for name in ("client.mjs", "package.json"):
        shutil.copy(HERE / name, BUILD / name)
    subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund"], cwd=BUILD, check=True)
    failed = 0
    for server in SERVERS:
        for transport in ("stdio", "http"):
            with tempfile.TemporaryDirectory() as folder:
                found = drive_in(Path(folder), server, transport)
            problems = list(problems_of(server, found))
            failed += len(problems)
            print(f"{server.words[0]} over {transport}: {len(found['tools'])} tools, {len(found['results'])} calls")
            print("".join(f"  {each}\n" for each in problems), end="")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
