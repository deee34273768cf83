"""A site whose commands write down that they ran, and the server on it in this process."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from loom_ops._cli.main import cli
from loom_runner.cli_base import local_user, run_command
from mcp import Client
from mcp.types import CallToolResult, ElicitResult, TextContent
from ops_runtime_mcp import Settings, build_server

PROGRAMS = {
    "fix": 'echo "fix $1" >> ran.txt; touch fixed',
    "unfix": 'echo "unfix $1" >> ran.txt; rm fixed',
    "slow": "echo begin >> ran.txt; sleep 30; echo end >> ran.txt",
    "show": 'echo "the token is $TOKEN"; seq 1200',
    "broken": "echo it does not work >&2; exit 3",
    "probe": "test -e fixed && echo 1 || echo 0",
}
RULES = """
path: [{folder}/bin, /usr/bin, /bin]
allow:
  - {{argv: [fix, "{{svc}}"], params: {{svc: "api|web"}}}}
  - {{argv: [unfix, "{{svc}}"], params: {{svc: "api|web"}}}}
  - {{argv: [slow]}}
  - {{argv: [show], effect: read, env: [TOKEN]}}
  - {{argv: [broken], effect: read}}
  - {{argv: [probe], effect: read}}
"""
RUNBOOK = """---
loom: 1
title: Fix a service
kind: remedy
match: [fixit]
inputs:
  service: {pattern: "api|web", description: the service}
secrets:
  token: {env: SITE_TOKEN}
approvals:
  default: {group: oncall, count: 1, ttl: 30m, on_timeout: deny}
  four_eyes: {group: oncall, count: 1, ttl: 30m, not_requester: true, on_timeout: deny}
  both: {group: oncall, count: 2, ttl: 30m, on_timeout: deny}
  edited: {group: oncall, count: 1, ttl: 30m, on_timeout: deny, edits: inputs}
---
## Look

```check id=state
kind: command
argv: [probe]
expect: "== 1"
```

```run id=show effect=read undo=none timeout=20s
argv: [show]
env: {TOKEN: "{secret.token}"}
```

```run id=broken effect=read undo=none timeout=20s
argv: [broken]
```

## Repair

```run id=fix undo=unfix timeout=20s
argv: [fix, "{service}"]
reason: it is broken
```

```run id=unfix undo=none timeout=20s
argv: [unfix, "{service}"]
```

```run id=guarded undo=none timeout=20s approve=four_eyes
argv: [fix, "{service}"]
```

```run id=together undo=none timeout=20s approve=both
argv: [fix, "{service}"]
```

```run id=editable undo=none timeout=20s approve=edited
argv: [fix, "{service}"]
```

```run id=slow undo=none timeout=60s
argv: [slow]
```

```run id=forbidden undo=none timeout=20s
argv: [rm, -rf, "{service}"]
```
"""
TEAM = """---
loom: 1
title: Fix with a team
approvals:
  default: {group: oncall, count: 1, ttl: 30m, on_timeout: deny}
---
## Repair

```run id=fix undo=none timeout=20s
argv: [fix, api]
reason: it is broken
```
"""
SECRET = "tok-4f9c1b7e2a6d8035"


class Site:
    """The site, with the tools and commands that work on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.db = folder / "ops.sqlite"
        self.settings = Settings(str(self.db), folder)
        self.server = build_server(self.settings)

    def call(self, tool: str, arguments: dict[str, Any] | None = None, **client: Any) -> CallToolResult:
        """Call a tool in a client of its own."""

        async def talk(connected: Client) -> CallToolResult:
            return await connected.call_tool(tool, arguments or {})

        return self.talk(talk, **client)

    def talk(self, work: Callable[[Client], Awaitable[Any]], **client: Any) -> Any:
        async def session() -> Any:
            async with Client(self.server, **client) as connected:
                return await work(connected)

        return asyncio.run(session())

    def get(self, tool: str, arguments: dict[str, Any] | None = None, **client: Any) -> dict[str, Any]:
        """Call a tool that must succeed; return its structured result."""
        result = self.call(tool, arguments, **client)
        assert not result.is_error, text_of(result)
        assert result.structured_content is not None
        return result.structured_content

    def error(self, tool: str, arguments: dict[str, Any] | None = None, **client: Any) -> str:
        """Call a tool that must fail; return what it says."""
        result = self.call(tool, arguments, **client)
        assert result.is_error, text_of(result)
        return text_of(result)

    def step(self, step: str, **more: Any) -> dict[str, Any]:
        """Execute a step for the service `api`."""
        client = {name: more.pop(name) for name in ("elicitation_callback", "mode") if name in more}
        return self.get("execute_runbook_step", {**self.words(step), **more}, **client)

    @staticmethod
    def words(step: str) -> dict[str, Any]:
        return {"runbook": "fix", "step": step, "inputs": {"service": "api"}}

    @property
    def ran(self) -> list[str]:
        """What the commands have written."""
        file = self.folder / "ran.txt"
        return file.read_text().splitlines() if file.exists() else []

    def loom_ops(self, *words: str, code: int = 0) -> None:
        """Run a command of loom-ops in this process."""
        with pytest.raises(SystemExit) as ended:
            run_command(cli, [*words, "--db", str(self.db)], name="loom-ops")
        assert ended.value.code == code

    def let_approve(self, *names: str) -> None:
        """Let only these people approve; the user of this process is `me`."""
        people = ", ".join(f'"{local_user() if name == "me" else name}"' for name in names)
        (self.folder / "loom-ops.toml").write_text(f"[groups]\noncall = [{people}]\n")


def text_of(result: CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    folder = tmp_path / "site"
    (folder / "bin").mkdir(parents=True)
    for name, script in PROGRAMS.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / "bin" / name).chmod(0o755)
    (folder / "ops.rules.yaml").write_text(RULES.format(folder=folder))
    (folder / "runbooks").mkdir()
    (folder / "runbooks" / "fix.md").write_text(RUNBOOK)
    (folder / "runbooks" / "team.md").write_text(TEAM)
    monkeypatch.setenv("LOOM_OPS_ALLOW_SHELL", "1")
    monkeypatch.setenv("SITE_TOKEN", SECRET)
    monkeypatch.chdir(folder)
    site = Site(folder)
    site.let_approve("me", "bob")
    return site


@pytest.fixture
def shown() -> Callable[[CallToolResult], str]:
    """The readable text of a result."""
    return text_of


@pytest.fixture
def secret() -> str:
    return SECRET


@pytest.fixture
def answers() -> Callable[..., Any]:
    """A client's user who answers, and remembers the questions."""

    def make(decision: str = "approve", action: str = "accept") -> Any:
        async def ask(context: Any, params: Any) -> ElicitResult:
            ask.asked.append(params.message)  # type: ignore[attr-defined]  # a list on the function
            return ElicitResult(action=action, content={"decision": decision, "note": "as asked"})

        ask.asked = []  # type: ignore[attr-defined]  # a list on the function
        return ask

    return make
