"""A folder as tools may use it: the path jail, and reading and searching its files.

    files = FileTools(Workspace.at(Path(".")))
    files.read_file("README.md")
    await files.grep("def main", "**/*.py")

Answers are dictionaries; what may not be done raises a `ToolError` with the next step.
"""

from loom_agents._errors import ToolError, WorkspaceError
from loom_agents._workspace.jail import Workspace
from loom_agents._workspace.read.files import FileTools
from loom_agents._workspace.test_runner import default_test_command

__all__ = ["FileTools", "ToolError", "Workspace", "WorkspaceError", "default_test_command"]
