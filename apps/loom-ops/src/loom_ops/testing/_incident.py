"""The incident of the kill sweep: one command line in a process of its own, which may be told to die at one point.

The points are the writes of the runner's store, and the places between: before, during and after a command, around
the audit trail, and when postmortem and memory are written. The drill is fast here: its check asks which release is
out, not how long it takes.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from loom_runner import SQLiteStore
from loom_runner.cli_base import run_command as run_command_line
from loom_runner.testing import CRASH_POINTS, crash_at

from loom_ops import _command, _memory, _planner, _postmortem, _reader, _team, _tools, _verifier
from loom_ops._audit import AuditTrail
from loom_ops._cli import cli
from loom_ops._drill import Drill

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "BEGIN",
    "DATABASE",
    "PEOPLES_POINTS",
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
Kind = Literal["helps", "does not help"]
BEGIN: Final = ("supervise", "it is slow", "--runbook", "sweep", "--drill", "--mock-llm", "-r", RUN_ID)
WORK_POINTS: Final = (
    "plan.asked",  # the planner has its answer, nothing is on record
    "command.before",  # the call is on record, nothing is started
    "command.running",  # the command is at work
    "command.after",  # the command has ended, and that is not on record
    "audit.before",
    "audit.after",
    "postmortem.after",  # the file is there, and that is not on record
    "memory.after",
)
_PEOPLES: Final = ("update_approval.", "decide_tool.", "audit.")
_NEVER: Final = ("ask_to_pause.", "fork_run.", "set_budget.", "replace_state.", "decide_tool.", "restart_tool.")
POINTS: Final = (*(point for point in CRASH_POINTS if not point.startswith(_NEVER)), *WORK_POINTS)
"""Where a team at work can die."""
PEOPLES_POINTS: Final = tuple(point for point in (*CRASH_POINTS, *WORK_POINTS) if point.startswith(_PEOPLES))
"""Where the command of somebody who approves or resolves can die."""

_GOOD_RELEASE: Final = {"helps": r"2026\.11\.1", "does not help": "no such release"}
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
reason: takes the rollback back
```
"""


def prepare(folder: Path, kind: Kind) -> None:
    """Write the site of an incident, whose drill answers at once."""
    (folder / "runbooks").mkdir()
    (folder / "runbooks" / "sweep.md").write_text(_RUNBOOK.format(good=_GOOD_RELEASE[kind]))
    drill = drill_of(folder)
    state = json.loads((drill.folder / "state.json").read_text())
    (drill.folder / "state.json").write_text(json.dumps({**state, "slow": ""}))


def drill_of(folder: Path) -> Drill:
    """Return the drill of the incident."""
    return Drill(folder / f"{DATABASE}.drill" / RUN_ID)


def drive(folder: str, words: Sequence[str], point: str | None, nth: int) -> None:
    """Run one command line in `folder` until it ends or reaches `point`. A process of its own does this."""
    os.chdir(folder)
    said = Path("said.txt").open("a", buffering=1)  # noqa: SIM115 - the process ends with it
    sys.stdout = sys.stderr = said
    said.write(f"$ {' '.join(words)} (until {point} {nth})\n")
    _plant(_Reach(point, nth))
    run_command_line(cli, words, name="loom-ops")


class _Reach:
    """Count how often each point is reached, and die where it was said."""

    def __init__(self, point: str | None, nth: int) -> None:
        self.point = point
        self.nth = nth
        self._hits: Counter[str] = Counter()

    def __call__(self, point: str) -> None:
        self._hits[point] += 1
        if point == self.point and self._hits[point] == self.nth:
            os.kill(os.getpid(), signal.SIGKILL)


def _plant(reach: _Reach) -> None:
    """Put the points into their places. The process was made for this, and ends."""
    run, append = _command.run_command, AuditTrail.append

    def opened(path: str) -> Any:
        store = SQLiteStore(path, "process")
        return crash_at(store, reach.point, nth=reach.nth) if reach.point in CRASH_POINTS else store

    async def ran(*args: Any, **more: Any) -> Any:
        reach("command.before")
        work = asyncio.ensure_future(run(*args, **more))
        if reach.point == "command.running":
            await asyncio.sleep(0.01 * reach.nth**2)
            os.kill(os.getpid(), signal.SIGKILL)
        ended = await work
        reach("command.after")
        return ended

    def appended(self: AuditTrail, *args: Any) -> None:
        reach("audit.before")
        append(self, *args)
        reach("audit.after")

    def then(function: Callable[..., Any], point: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def reached(*args: Any, **more: Any) -> Any:
            result = function(*args, **more)
            reach(point)
            return result

        return reached

    verifier = functools.partial(_verifier.verifier_step, round_s=0.02)
    replaced: tuple[tuple[Any, str, Any], ...] = (
        (_reader, "SQLiteStore", opened),
        (_tools, "run_command", ran),
        (_tools, "write_postmortem", then(_postmortem.write_postmortem, "postmortem.after")),
        (_memory.Memory, "learn", then(_memory.Memory.learn, "memory.after")),
        (_planner, "_objection", then(_planner._objection, "plan.asked")),  # noqa: SLF001 - the same package
        (AuditTrail, "append", appended),
        (_team, "verifier_step", verifier),
    )
    for place, name, new in replaced:
        setattr(place, name, new)
