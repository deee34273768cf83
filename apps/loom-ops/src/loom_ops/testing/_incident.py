"""The incident of the kill sweep: a command line in its own process, killed at one point.

The points are the writes of the runner's store, and points between them: before, during and after a
command, around the audit trail, and when postmortem and memory are written. The drill is fast here:
its check reads which release is deployed, not how long an answer takes.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import loom_runner
from loom_agents.memory import Memory
from loom_runner import SQLiteStore
from loom_runner.cli_base import run_command as run_command_line
from loom_runner.testing import CRASH_POINTS, KillPoint, crash_at

from loom_ops._audit.trail import AuditTrail
from loom_ops._cli.main import cli
from loom_ops._commands.run import run_command
from loom_ops._drill import Drill
from loom_ops._team import planner, team, tools
from loom_ops._team.postmortem import write_postmortem
from loom_ops._team.verifier import verifier_step

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "BEGIN",
    "DATABASE",
    "DECISION_POINTS",
    "OUTPUT",
    "POINTS",
    "RUN_ID",
    "WORK_POINTS",
    "Kind",
    "drill_of",
    "drive",
    "prepare",
]

RUN_ID: Final = "inc-001"
DATABASE: Final = "ops.sqlite"
OUTPUT: Final = "output.txt"
"""The output of the commands."""
Kind = Literal["helps", "does_not_help"]
BEGIN: Final = ("supervise", "it is slow", "--runbook", "sweep", "--drill", "--mock-llm", "-r", RUN_ID)
WORK_POINTS: Final = (
    "plan.asked",  # the planner has its answer, nothing is recorded
    "command.before",  # the call is recorded, nothing is started
    "command.running",
    "command.after",  # the command has ended, and that is not recorded
    "audit.before",
    "audit.after",
    "postmortem.after",  # the file is written, and that is not recorded
    "memory.after",
)
_DECISION_PREFIXES: Final = ("update_approval.", "decide_tool.", "audit.")
_NEVER: Final = ("request_pause.", "add_run.", "set_budget.", "replace_state.", "decide_tool.", "restart_tool.")
POINTS: Final = (*(point for point in CRASH_POINTS if not point.startswith(_NEVER)), *WORK_POINTS)
"""The points at which a running team can be killed."""
DECISION_POINTS: Final = tuple(point for point in (*CRASH_POINTS, *WORK_POINTS) if point.startswith(_DECISION_PREFIXES))
"""The points at which a command that approves or resolves can be killed."""

_GOOD_RELEASE: Final = {"helps": r"2026\.11\.1", "does_not_help": "no such release"}
_RUNBOOK: Final = """\
---
loom: 1
title: Sweep
kind: remedy
inputs: {{service: {{pattern: api, default: api}}, url: {{pattern: "http://.*"}}}}
approvals: {{default: {{group: operators, ttl: 1h}}}}
---
```check id=release
kind: http
url: "{{url}}"
body: '{good}'
```
```run id=rollback undo=redeploy timeout=60s
argv: [rollback-service, "{{service}}"]
reason: the last release is bad
```
```run id=redeploy undo=none timeout=60s
argv: [redeploy-service, "{{service}}"]
reason: undoes the rollback
```
"""


def prepare(folder: Path, kind: Kind) -> None:
    """Write the site of an incident, and a drill that answers without a delay."""
    (folder / "runbooks").mkdir()
    (folder / "runbooks" / "sweep.md").write_text(_RUNBOOK.format(good=_GOOD_RELEASE[kind]))
    drill = drill_of(folder)
    state = json.loads((drill.folder / "state.json").read_text())
    (drill.folder / "state.json").write_text(json.dumps({**state, "slow": ""}))


def drill_of(folder: Path) -> Drill:
    """Return the drill of the incident."""
    return Drill(folder / f"{DATABASE}.drill" / RUN_ID)


def drive(folder: str, words: Sequence[str], point: str | None, nth: int) -> None:
    """Run one command line in `folder`, until it ends or reaches `point` for the nth time.

    It changes this process: run it in a separate one.
    """
    os.chdir(folder)
    output = Path(OUTPUT).open("a", buffering=1)  # noqa: SIM115 - open until the process ends
    sys.stdout = sys.stderr = output
    output.write(f"$ {' '.join(words)} (until {point} {nth})\n")
    _install(KillPoint(point, nth))
    run_command_line(cli, words, name="loom-ops")


def _install(reach: KillPoint) -> None:
    """Put the points into their places. The process was started for this, and ends."""
    append = AuditTrail.append

    def open_store(path: str, **options: Any) -> Any:
        store = SQLiteStore(path, "process", **options)
        return crash_at(store, reach.point, nth=reach.nth) if reach.point in CRASH_POINTS else store

    async def run_with_points(*args: Any, **more: Any) -> Any:
        reach("command.before")
        work = asyncio.ensure_future(run_command(*args, **more))
        if reach.point == "command.running":
            await asyncio.sleep(0.01 * reach.nth**2)
            os.kill(os.getpid(), signal.SIGKILL)
        ended = await work
        reach("command.after")
        return ended

    def append_facts(self: AuditTrail, *args: Any) -> None:
        reach("audit.before")
        append(self, *args)
        reach("audit.after")

    def followed_by(point: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **more: Any) -> Any:
            result = function(*args, **more)
            reach(point)
            return result

        return wrapper

    replacements: tuple[tuple[Any, str, Any], ...] = (
        (loom_runner, "open_store", open_store),
        (tools, "run_command", run_with_points),
        (tools, "write_postmortem", followed_by("postmortem.after", write_postmortem)),
        (Memory, "learn", followed_by("memory.after", Memory.learn)),
        (planner, "plan_objection", followed_by("plan.asked", planner.plan_objection)),
        (AuditTrail, "append", append_facts),
        (team, "verifier_step", functools.partial(verifier_step, round_s=0.02)),
    )
    for place, name, new in replacements:
        assert hasattr(place, name), f"{place.__name__} has no {name} any more"
        setattr(place, name, new)
