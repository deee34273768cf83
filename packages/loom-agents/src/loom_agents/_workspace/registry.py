"""The local tools of an agent that works on a folder, declared to the runner by their effects."""

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
    test_network: bool = False,
) -> ToolRegistry:
    """Build the tools for one workspace: files, search, git, `run_tests`, and tools that write.

    An interrupted call of these tools is repeated without asking a person: tools that read change
    nothing, and tools that write are idempotent by the key of the call.

    `run_tests` is not idempotent: tests may write files, and two runs may end differently. It is
    repeated nevertheless, because the owner of the workspace chose its command and not the model,
    tests are meant to be run any number of times, and no process of the interrupted run is left.

    Args:
        workspace: The folder that the tools are restricted to.
        test_command: Program and arguments of the test runner; by default pytest.
        test_timeout_s: Seconds until the tests are stopped.
        changes: The log of the changes; without it there are no tools that write.
        test_network: Whether tests may use the network.
    """
    files, git = FileTools(workspace), GitTools(workspace)
    command = tuple(test_command) if test_command else default_test_command(workspace)
    suite = SuiteRunner(workspace, command, test_timeout_s, test_network)
    registry = ToolRegistry()
    readers = (DocumentSearch(workspace).search_docs, files.read_file, files.list_files, files.grep)
    for function in (*readers, git.git_status, git.git_diff):
        registry.add(described_tool(function, read_only=True))
    registry.add(described_tool(suite.run_tests, on_doubt="retry"))
    if changes is not None:
        write, commit = WriteTools(workspace, changes), CommitTool(workspace, changes)
        for tool in (write.edit_file, write.write_file, write.apply_patch, commit.git_commit):
            registry.add(described_tool(tool, idempotent=True))
    return registry
