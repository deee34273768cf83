"""The sessions of the kill sweep: an agent that reads, edits with approval, patches, tests and
commits; and a team in which one agent does so while another one looks.

Each of its processes can be killed at one point. The points are the writes of the runner's store,
the events around each tool call, and the places inside a tool where half of its work is done.
"""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

from loom_runner import Agent, AgentRunner, RunEvent, SQLiteStore
from loom_runner.testing import CRASH_POINTS, EffectLog, KillPoint, crash_at

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
from loom_agents._workspace.git.commit import run_git
from loom_agents._workspace.git.invocation import Repository
from loom_agents._workspace.jail import Workspace
from loom_agents._workspace.registry import workspace_tools
from loom_agents._workspace.undo import change_log, file_images
from loom_agents._workspace.undo.change_log import ChangeLog
from loom_agents._workspace.undo.change_rows import ChangeRows

RUN_ID: Final = "session"
Kind = Literal["alone", "team"]
TOOL_POINTS: Final = (
    "tool.started",  # the call is on record, nothing has happened
    "change.intended",  # what it will change is on record
    "file.written",  # the new content is there under another name
    "file.renamed",  # one file is changed
    "change.put",  # one file is changed and durable
    "change.done",  # all files are, and that is on record
    "tests.running",  # in the middle of the tests
    "git.read-tree",
    "git.commit-tree",
    "git.update-ref",  # the branch has moved
    "tool.finished",  # the result is on record
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


_PROFILES: Final = (AgentProfile("coder", "Changes files."), AgentProfile("verifier", "Looks."))
_LEAD: Final = (
    ModelReply(
        "",
        (
            ToolCall("a", "delegate", {"agent": "coder", "task": "mend it"}),
            ToolCall("b", "delegate", {"agent": "verifier", "task": "look"}),
        ),
    ),
    ModelReply("", (ToolCall("commit", "git_commit", {"message": "Add"}),)),
    ModelReply("It adds now."),
)
_MEMBERS: Final = {
    "coder": (ModelReply("", _EDITS), ModelReply("", (ToolCall("test", "run_tests"),)), ModelReply("Mended.")),
    "verifier": (ModelReply("", (ToolCall("list", "list_files", {"glob": "*.none"}),)), ModelReply("Nothing there.")),
}


def make_workspace(folder: Path) -> None:
    """Make the folder that the session works on: a small repository with a mistake in it."""
    folder.mkdir()
    for name, text in _FILES.items():
        (folder / name).write_text(text)
    git = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org")
    for arguments in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-qm", "first")):
        subprocess.run([*git, *arguments], cwd=folder, check=True, capture_output=True)  # noqa: S603 - our own words


def build(
    folder: Path, kind: Kind, store: Any = None, listen: Callable[[RunEvent], None] = lambda _: None
) -> AgentRunner:
    """Make the runner of a session on the database in `folder`, or on another store."""
    workspace = Workspace.at(folder / "workspace")
    command = (sys.executable, "-S", "-B", "check.py")
    tools = workspace_tools(workspace, test_command=command, changes=ChangeLog(folder / "runs.sqlite-undo"))
    policy = Policy(workspace, "edits", (Rule("ask", "edit_file"), Rule("allow", "git_commit")))
    kept = open_store(folder) if store is None else store
    if kind == "alone":
        coordinator = Coordinator(ScriptedModel(_REPLIES), tools, keeps_open=False)
        return build_agent_runner(coordinator, tools, kept, name="agent", observers=[listen], policy=policy)

    def member(name: str) -> Agent:
        coordinator = Coordinator(ScriptedModel(_MEMBERS[name]), tools, keeps_open=False)
        return build_agent(coordinator, tools, name=name, policy=policy)

    delegation = Delegation(_PROFILES, lambda _, task: AgentState().with_user(task).to_json())
    lead = Coordinator(ScriptedModel(_LEAD), tools, keeps_open=False, delegation=delegation)
    children = {name: member(name) for name in _MEMBERS}
    return build_agent_runner(lead, tools, kept, name="agent", observers=[listen], policy=policy, children=children)


def open_store(folder: Path) -> SQLiteStore:
    """Open the database of the session."""
    return SQLiteStore(str(folder / "runs.sqlite"), "process")


def drive(folder: str, kind: Kind, point: str | None, nth: int) -> None:
    """Start or resume the session, and drive it until it ends, waits or is killed at `point`. This
    runs in a separate process.
    """
    place = Path(folder)
    reach = KillPoint(point, nth)
    _plant(reach, EffectLog(place / "effects.txt"))

    def listen(event: RunEvent) -> None:
        if event.kind == "tool_started":
            reach("tool.started")
        elif event.kind == "tool_finished" and not event.data["recorded"]:
            reach("tool.finished")

    store: Any = open_store(place)
    runner = build(place, kind, crash_at(store, point, nth=nth) if point in CRASH_POINTS else store, listen)
    state = AgentState().with_user("mend it").to_json()
    asyncio.run(runner.start(run_id=RUN_ID, initial_state=state))
    runner.close()


def _plant(reach: KillPoint, effects: EffectLog) -> None:
    """Put the points into the places where half of the work is done. The process was made for this,
    and ends.
    """
    intend, mark = ChangeRows.intend, ChangeRows.mark
    rename = os.rename

    def put(workspace: Workspace, path: str, image: Any, *, key: str) -> None:
        file_images.put(workspace, path, image, key=key)
        effects.add(f"{key} {path}")
        reach("change.put")

    def intended(self: ChangeRows, *rest: Any) -> Any:
        change = intend(self, *rest)
        reach("change.intended")
        return change

    def marked(self: ChangeRows, change: Any, status: Any) -> None:
        mark(self, change, status)
        reach(f"change.{status}")

    def renamed(*names: Any, **folders: Any) -> None:
        reach("file.written")
        rename(*names, **folders)
        reach("file.renamed")

    async def ran_git(repository: Repository, verb: str, *rest: str, **more: Any) -> Any:
        ended = await run_git(repository, verb, *rest, **more)
        reach(f"git.{verb}")
        return ended

    async def ran_tests(*command: Any, **more: Any) -> Any:
        work = asyncio.ensure_future(run_process(*command, **more))
        await asyncio.sleep(0.02)
        reach("tests.running")
        return await work

    replaced: tuple[tuple[Any, str, Callable[..., Any]], ...] = (
        (ChangeRows, "intend", intended),
        (ChangeRows, "mark", marked),
        (change_log, "put", put),
        (os, "rename", renamed),
        (commit, "run_git", ran_git),
        (test_runner, "run_process", ran_tests),
    )
    for place, name, function in replaced:
        setattr(place, name, function)


def copy_workspace(template: Path, folder: Path) -> None:
    """Copy the folder of the session, times included."""
    shutil.copytree(template, folder, symlinks=True)
