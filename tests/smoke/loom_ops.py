"""Run a small runbook: shown dry, stopped for an approval, approved, completed, and on record."""

import json
import os
import subprocess
import sys
from pathlib import Path

COMMAND = str(Path(sys.executable).parent / "loom-ops")
RUNBOOK = """---
loom: 1
title: Do nothing, with an approval
kind: change
approvals:
  default: {ttl: 30m, on_timeout: deny}
---
## Do it {#doing effect=write approve=default}

```run id=doing undo=none timeout=10s
argv: ["true"]
reason: the smallest change there is
```
"""


def run(*words: str, code: int = 0) -> str:
    ended = subprocess.run(
        [COMMAND, *words],
        env={**os.environ, "LOOM_OPS_ALLOW_SHELL": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == code, (words, ended)
    return ended.stdout


def main() -> None:
    Path("runbooks").mkdir()
    Path("runbooks/nothing.md").write_text(RUNBOOK)
    Path("ops.rules.yaml").write_text('allow: [{argv: ["true"]}]\n')
    run("lint", "runbooks/nothing.md")
    assert "ops.rules.yaml:1" in run("runbook", "nothing", "--dry-run", "--output", "text")

    run("runbook", "nothing", "--run-id", "demo", code=3)
    assert "true" in run("approvals")
    assert "command.started" not in run("audit", "export")
    run("approve", "--run-id", "demo", "--note", "seen")
    ended = json.loads(run("resume", "--run-id", "demo", "--output", "json"))
    assert ended["status"] == "completed", ended

    kinds = [json.loads(line)["kind"] for line in run("audit", "export").splitlines()]
    assert kinds.index("approval.requested") < kinds.index("approval.decided") < kinds.index("command.started"), kinds
    run("audit", "verify")
    assert "seen" in run("audit", "export") and "demo" in run("explain", "--run-id", "demo", "--output", "text")


main()
