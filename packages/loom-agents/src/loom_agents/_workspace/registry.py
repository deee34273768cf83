"""The local tools of an agent that works on a folder, each declared to the runner by what it does to the world."""

from collections.abc import Sequence

from loom_runner import ToolRegistry

from loom_agents._tools.function_tools import described_tool
from loom_agents._workspace.git.commit import CommitTool
from loom_agents._workspace.git.repository import GitTools
from loom_agents._workspace.jail import Workspace
from loom_agents._workspace.read.doc_search import DocumentSearch
from loom_agents._workspace.read.files import FileTools
from loom_agents._workspace.test_runner import DEFAULT_TIMEOUT_S, SuiteRunner, default_test_command
from loom_agents._workspace.undo.change_log import ChangeLog
from loom_agents._workspace.write.tools import WriteTools


def workspace_tools(
    workspace: Workspace,
    *,
    test_command: Sequence[str] | None = None,
    test_timeout_s: float = DEFAULT_TIMEOUT_S,
    changes: ChangeLog | None = None,
) -> ToolRegistry:
    """Build the tools for one workspace: files, search, git, `run_tests`, and those that write.

    Those that look change nothing, and those that write know by the key of a call what it did already; so an
    interrupted call is made again without asking.

    `run_tests` is not idempotent by nature: tests may write files, and two runs may end differently. It is made again
    all the same, because its command was chosen by the owner of the workspace and not by the model, tests are
    written to be run any number of times, nothing of the interrupted run is still alive, and a person who is asked at
    night whether tests may be run again has only one answer.

    Args:
        workspace: The folder that the tools are locked into.
        test_command: Program and arguments of the test runner; pytest when it is not given.
        test_timeout_s: After this many seconds the tests are stopped.
        changes: Where the tools that write keep what they change; without it there are none.
    """
    files, git = FileTools(workspace), GitTools(workspace)
    command = tuple(test_command) if test_command else default_test_command(workspace)
    suite = SuiteRunner(workspace, command, test_timeout_s)
    registry = ToolRegistry()
    look = (DocumentSearch(workspace).search_docs, files.read_file, files.list_files, files.grep)
    for function in (*look, git.git_status, git.git_diff):
        registry.add(described_tool(function, read_only=True))
    registry.add(described_tool(suite.run_tests, on_doubt="retry"))
    if changes is not None:
        write, commit = WriteTools(workspace, changes), CommitTool(workspace, changes)
        for tool in (write.edit_file, write.write_file, write.apply_patch, commit.git_commit):
            registry.add(described_tool(tool, idempotent=True))
    return registry
