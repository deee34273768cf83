"""`loom-ops supervise` on a site whose `.mcp.json` names the three servers of this repository."""

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

BIN = Path(sys.executable).parent
TOOLS = {
    "docs-memory": ("docs-memory-mcp", ["--root", "docs"], "docs_search"),
    "rule-based-verifier": ("rule-based-verifier", ["--root", "."], "run_tests"),
    "ops-runtime": ("ops-runtime-mcp", ["--db", "other.sqlite"], "check_service_health"),
}
RUNBOOK = """---
kind: change
summary: Ship the shop after its tests pass.
---
```check id=tests
kind: mcp
server: rule-based-verifier
tool: run_tests
timeout: 120s
result: {gate: tests, verdict: pass}
```

```check id=page
kind: mcp
server: docs-memory
tool: docs_search
arguments: {query: how to roll back}
timeout: 120s
result: {matches.0.path: rollback.md}
```

```check id=disk
kind: mcp
server: ops-runtime
tool: check_service_health
arguments: {service: shop}
timeout: 120s
result: {verdict: healthy}
```

```run id=ship undo=none timeout=10s
argv: [touch, deployed]
reason: the tests pass
```
"""
DISK = "# Disk\n\n```check id=disk\nkind: disk\npath: .\nexpect: '<= 100%'\n```\n"


def run(folder: Path, *words: str, code: int) -> str:
    """Run a command of the site and return what it prints."""
    environment = {**os.environ, "LOOM_OPS_ALLOW_SHELL": "1"}
    ended = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended.stdout


def make_site(folder: Path) -> None:
    for name, text in {
        "docs/rollback.md": "# Rollback\n\nHow to roll back the shop.\n",
        "test_shop.py": "def test_price():\n    assert 6 == 6\n",
        "runbooks/ship.md": RUNBOOK,
        "runbooks/disk.md": DISK,
        "loom-ops.toml": '[services.shop]\nrunbooks = ["disk"]\n',
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    servers = {
        name: {"command": command, "args": words, "loom": {"effect": "read", "tools": {"allow": [tool]}}}
        for name, (command, words, tool) in TOOLS.items()
    }
    (folder / ".mcp.json").write_text(json.dumps({"mcpServers": servers}))
    allow = [
        {"argv": [command, *words], "effect": "read", "timeout": "120s", "env": ["XDG_STATE_HOME"], "unsafe": "a test"}
        for command, words, _ in TOOLS.values()
    ]
    rules = {"path": [str(BIN), "/usr/bin", "/bin"], "allow": [*allow, {"argv": ["touch", "deployed"]}]}
    (folder / "ops.rules.yaml").write_text(yaml.safe_dump(rules))


def test_the_tools_of_the_three_servers_decide_whether_a_deployment_starts(tmp_path: Path) -> None:
    make_site(tmp_path)
    run(tmp_path, str(BIN / "rule-based-verifier"), "--root", ".", "--trust", code=0)
    start = (str(BIN / "loom-ops"), "supervise", "ship it", "--runbook", "ship", "--mock-llm", "--output", "text")
    waiting = run(tmp_path, *start, "--db", "good.sqlite", code=3)
    assert "waiting for approval" in waiting and "touch deployed" in waiting, waiting

    (tmp_path / "test_shop.py").write_text("def test_price():\n    assert 6 == 7\n")
    refused = run(tmp_path, *start, "--db", "bad.sqlite", code=1)
    assert "verdict is 'fail', expected 'pass'" in refused, refused
    assert not (tmp_path / "deployed").exists()
