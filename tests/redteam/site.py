"""A site of loom-ops with one runbook that writes, and its commands."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["command_ran", "loom", "loom_ops", "make_site"]


def make_site(
    folder: Path,
    *,
    group: Sequence[str] = ("alice", "bob"),
    count: int = 2,
    not_requester: bool = False,
    settings: str = "",
    front_matter: str = "",
) -> Path:
    """Write a site: the runbook `fix` runs `good` after approval; its rules also allow `evil`."""
    programs = folder / "bin"
    programs.mkdir(parents=True)
    for name in ("good", "evil"):
        program = programs / name
        program.write_text(f'#!/bin/sh\necho {name} "$@" >> {folder}/ran.txt\n')
        program.chmod(0o755)
    rule = "  - argv: [{}, '{{svc}}']\n    params: {{svc: 'api|web'}}\n"
    rules = f"path: [{programs}, /usr/bin, /bin]\nallow:\n" + rule.format("good") + rule.format("evil")
    (folder / "ops.rules.yaml").write_text(rules)
    (folder / "loom-ops.toml").write_text(f"[groups]\noncall = {json.dumps(list(group))}\n{settings}")
    (folder / "runbooks").mkdir()
    approval = f"{{group: oncall, count: {count}, ttl: 30m, not_requester: {str(not_requester).lower()}"
    (folder / "runbooks/fix.md").write_text(f"""---
loom: 1
title: Fix the API
kind: change
match: [fixit]
inputs:
  svc: {{pattern: "api|web", default: api}}
approvals:
  default: {approval}, on_timeout: deny}}
{front_matter}---
## Do it {{#do effect=write approve=default}}

```run id=good undo=none timeout=20s
argv: [good, "{{svc}}"]
reason: it helps
```
""")
    tokens = {"alice": ["read", "run", "approve"], "bob": ["read", "run", "approve"], "eve": ["read", "run"]}
    text = ""
    for name, scopes in tokens.items():
        digest = hashlib.sha256(f"tok-{name}".encode()).hexdigest()
        text += f'[{name}]\nsha256 = "{digest}"\nscopes = {json.dumps(scopes)}\n'
    (folder / "tokens.toml").write_text(text)
    (folder / "tokens.toml").chmod(0o600)
    return folder


def loom(
    folder: Path,
    module: str,
    *words: str,
    environment: Mapping[str, str] | None = None,
    standard_input: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run `python -m module` in a folder, with a home of its own."""
    home = folder.parent / f"{folder.name}-home"
    home.mkdir(exist_ok=True)
    folders = {"XDG_STATE_HOME": str(home / ".local/state"), "XDG_CONFIG_HOME": str(home / ".config")}
    set_here = {"HOME": str(home), **folders, "LOOM_OPS_ALLOW_SHELL": "1", **(environment or {})}
    return subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=folder,
        env={**os.environ, **set_here},
        input=standard_input,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def loom_ops(
    folder: Path, *words: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command of loom-ops."""
    return loom(folder, "loom_ops", *words, environment=environment)


def command_ran(folder: Path) -> str | None:
    """Return what the runbook's programs wrote; None when none has run."""
    written = folder / "ran.txt"
    return f"ran: {written.read_text().strip()}" if written.exists() else None
