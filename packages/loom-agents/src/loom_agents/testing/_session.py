"""The sessions of the kill sweep: one agent reads, edits with approval, patches, runs tests and
commits; or a team of agents does so.

Every process of a session can be made to crash at one point. The points are the writes of the
runner's store, the events around each tool call, and places in the middle of a tool's work.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

from loom_runner import Agent, AgentRunner, RunEvent, SQLiteStore
from loom_runner.testing import CRASH_POINTS, EffectLog, crash_at

from loom_agents._agent.coordinator import Coordinator
from loom_agents._agent.delegation import AgentProfile, Delegation
from loom_agents._agent.policy import Policy, Rule
from loom_agents._agent.runner import build_agent, build_agent_runner
from loom_agents._agent.state import AgentState
from loom_agents._models.messages import ToolCall
from loom_agents._models.protocol import ModelReply
from loom_agents._models.scripted import ScriptedModel
from loom_agents._process.run import run_process
from loom_agents._workspace import test_runner
from loom_agents._workspace.git import commit
from loom_agents._workspace.git.repository import run_git
from loom_agents._workspace.jail import Workspace
from loom_agents._workspace.registry import workspace_tools
from loom_agents._workspace.undo import change_log, file_images
from loom_agents._workspace.undo.change_log import ChangeLog
from loom_agents._workspace.undo.change_rows import ChangeRows

RUN_ID: Final = "session"
Kind = Literal["alone", "team"]
TOOL_POINTS: Final = (
    "tool.started",  # the call is recorded, nothing has happened
    "change.intended",  # the intended change is recorded
    "file.written",  # the new content is written to a temporary file
    "file.renamed",  # one file is changed
    "change.put",  # one file is changed and durable
    "change.done",  # all files are changed, and that is recorded
    "tests.running",  # the tests are running
    "git.read-tree",
    "git.commit-tree",
    "git.update-ref",  # the branch points to the new commit
    "tool.finished",  # the result is recorded
)
POINTS: Final = (*CRASH_POINTS, *TOOL_POINTS)

_FILES: Final = {
    "app.py": "def add(a, b):\n    return a - b\n",
    "README.md": "# Sample\n\nIt subtracts.\n",
    "check.py": "import app\nassert app.add(2, 3) == 5\nprint('1 passed')\n",
}
_PATCH: Final = (
    "--- a/README.md\n+++ b/README.md\n@@ -1,3 +1,3 @@\n # Sample\n \n-It subtracts.\n+It adds.\n"
    "--- /dev/null\n+++ b/docs/notes.md\n@@ -0,0 +1 @@\n+New.\n"
)
_EDITS: Final = (
    ToolCall("edit", "edit_file", {"path": "app.py", "old": "a - b", "new": "a + b"}),
    ToolCall("patch", "apply_patch", {"patch": _PATCH}),
)
_REPLIES: Final = (
    ModelReply("", (ToolCall("read", "read_file", {"path": "app.py"}), ToolCall("list", "list_files"))),
    ModelReply("", _EDITS),
    ModelReply(
        "", (ToolCall("write", "write_file", {"path": "new.txt", "text": "x\n"}), ToolCall("test", "run_tests"))
    ),
    ModelReply("", (ToolCall("commit", "git_commit", {"message": "Add"}), ToolCall("diff", "git_diff"))),
    ModelReply("It adds now."),
)


_PROFILES: Final = (AgentProfile("coder", "Changes files."), AgentProfile("verifier", "Checks files."))
_LEAD: Final = (
    ModelReply(
        "",
        (
            ToolCall("a", "delegate", {"agent": "coder", "task": "fix it"}),
            ToolCall("b", "delegate", {"agent": "verifier", "task": "check it"}),
        ),
    ),
    ModelReply("", (ToolCall("commit", "git_commit", {"message": "Add"}),)),
    ModelReply("It adds now."),
)
_MEMBERS: Final = {
    "coder": (ModelReply("", _EDITS), ModelReply("", (ToolCall("test", "run_tests"),)), ModelReply("Fixed.")),
    "verifier": (ModelReply("", (ToolCall("list", "list_files", {"glob": "*.none"}),)), ModelReply("No such files.")),
}


def make_workspace(folder: Path) -> None:
    """Create the workspace of the session: a small repository with a bug."""
    folder.mkdir()
    for name, text in _FILES.items():
        (folder / name).write_text(text)
    git = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org")
    for arguments in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-qm", "first")):
        subprocess.run([*git, *arguments], cwd=folder, check=True, capture_output=True)  # noqa: S603 - constant arguments


def build(
    folder: Path, kind: Kind, store: Any = None, listen: Callable[[RunEvent], None] = lambda _: None
) -> AgentRunner:
    """Build the runner of a session on the database in `folder`, or on another store."""
    workspace = Workspace.at(folder / "workspace")
    command = (sys.executable, "-S", "-B", "check.py")
    tools = workspace_tools(workspace, test_command=command, changes=ChangeLog(folder / "runs.sqlite-undo"))
    policy = Policy(workspace, "edits", (Rule("ask", "edit_file"), Rule("allow", "git_commit")))
    used_store = open_store(folder) if store is None else store
    if kind == "alone":
        coordinator = Coordinator(ScriptedModel(_REPLIES), tools, keeps_open=False)
        return build_agent_runner(coordinator, tools, used_store, observers=[listen], policy=policy)

    def member(name: str) -> Agent:
        coordinator = Coordinator(ScriptedModel(_MEMBERS[name]), tools, keeps_open=False)
        return build_agent(coordinator, tools, name=name, aliases=(), policy=policy)

    delegation = Delegation(_PROFILES, lambda _, task: AgentState().with_user(task).to_json())
    lead = Coordinator(ScriptedModel(_LEAD), tools, keeps_open=False, delegation=delegation)
    children = {name: member(name) for name in _MEMBERS}
    return build_agent_runner(lead, tools, used_store, observers=[listen], policy=policy, children=children)


def open_store(folder: Path) -> SQLiteStore:
    """Open the database of the session."""
    return SQLiteStore(str(folder / "runs.sqlite"), "process")


def drive(folder: str, kind: Kind, point: str | None, nth: int) -> None:
    """Run the session until it ends, waits, or crashes at the nth time at `point`.

    The process must run nothing else: tools are patched in it.
    """
    root = Path(folder)
    reach = _CrashPoint(point, nth)
    _install_points(reach, EffectLog(root / "effects.txt"))

    def listen(event: RunEvent) -> None:
        if event.kind == "tool_started":
            reach("tool.started")
        elif event.kind == "tool_finished" and not event.data["recorded"]:
            reach("tool.finished")

    store: Any = open_store(root)
    runner = build(root, kind, crash_at(store, point, nth=nth) if point in CRASH_POINTS else store, listen)
    state = AgentState().with_user("fix it").to_json()
    asyncio.run(runner.start(run_id=RUN_ID, initial_state=state))
    runner.close()


class _CrashPoint:
    """Count how often each point is reached, and kill the process at the nth time at `point`."""

    def __init__(self, point: str | None, nth: int) -> None:
        self._point = point
        self._nth = nth
        self._hits: Counter[str] = Counter()

    def __call__(self, point: str) -> None:
        self._hits[point] += 1
        if point == self._point and self._hits[point] == self._nth:
            os.kill(os.getpid(), signal.SIGKILL)


def _install_points(reach: _CrashPoint, effects: EffectLog) -> None:
    """Patch the tools of this process to call `reach` at each point."""
    intend, mark = ChangeRows.intend, ChangeRows.mark
    rename = os.rename

    def put_and_reach(workspace: Workspace, path: str, image: Any, *, key: str) -> None:
        file_images.put(workspace, path, image, key=key)
        effects.add(f"{key} {path}")
        reach("change.put")

    def intend_and_reach(self: ChangeRows, *rest: Any) -> Any:
        change = intend(self, *rest)
        reach("change.intended")
        return change

    def mark_and_reach(self: ChangeRows, change: Any, status: Any) -> None:
        mark(self, change, status)
        reach(f"change.{status}")

    def rename_and_reach(*names: Any, **folders: Any) -> None:
        reach("file.written")
        rename(*names, **folders)
        reach("file.renamed")

    async def run_git_and_reach(folder: Path, verb: str, *rest: str, **more: Any) -> Any:
        ended = await run_git(folder, verb, *rest, **more)
        reach(f"git.{verb}")
        return ended

    async def run_tests_and_reach(*command: Any, **more: Any) -> Any:
        work = asyncio.ensure_future(run_process(*command, **more))
        await asyncio.sleep(0.02)
        reach("tests.running")
        return await work

    patches: tuple[tuple[Any, str, Callable[..., Any]], ...] = (
        (ChangeRows, "intend", intend_and_reach),
        (ChangeRows, "mark", mark_and_reach),
        (change_log, "put", put_and_reach),
        (os, "rename", rename_and_reach),
        (commit, "run_git", run_git_and_reach),
        (test_runner, "run_process", run_tests_and_reach),
    )
    for target, name, function in patches:
        setattr(target, name, function)


def copy_workspace(template: Path, folder: Path) -> None:
    """Copy the workspace of the session, modification times included."""
    shutil.copytree(template, folder, symlinks=True)
