"""Start the server as a client does, list its tools, and run a step that waits for its approval."""

import asyncio
import sys
from pathlib import Path

from mcp import Client, StdioServerParameters

COMMAND = str(Path(sys.executable).parent / "ops-runtime-mcp")
RUNBOOK = """---
loom: 1
title: Do nothing, with an approval
approvals:
  default: {ttl: 30m, on_timeout: deny}
---
```run id=doing undo=none timeout=10s
argv: ["true"]
```
"""


async def main() -> None:
    Path("runbooks").mkdir()
    Path("runbooks/nothing.md").write_text(RUNBOOK)
    Path("ops.rules.yaml").write_text('allow: [{argv: ["true"]}]\n')
    server = StdioServerParameters(command=COMMAND, env={"LOOM_OPS_ALLOW_SHELL": "1"})
    async with Client(server) as client:
        assert len((await client.list_tools()).tools) == 7
        words = {"runbook": "nothing", "step": "doing"}
        result = await client.call_tool("execute_runbook_step", words)
        assert result.structured_content is not None
        assert result.structured_content["status"] == "pending_approval", result
        waiting = (await client.call_tool("approvals_pending", {})).structured_content
        assert waiting is not None and len(waiting["approvals"]) == 1, waiting


asyncio.run(main())
