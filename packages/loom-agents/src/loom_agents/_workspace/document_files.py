"""The files of a workspace as an index reads them: through the path jail."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from loom_agents._errors import SearchError, WorkspaceError
from loom_agents._search.files import ListedFile
from loom_agents._workspace.jail import Workspace
from loom_agents._workspace.listing import walk


@dataclass(frozen=True, slots=True)
class WorkspaceFiles:
    """List and open what tools may see of a workspace.

    Args:
        suffixes: Only files whose names end with one of these, in lower case; all
            without any.
    """

    workspace: Workspace
    suffixes: tuple[str, ...] = ()

    def walk(self, below: str = "") -> Iterator[ListedFile]:
        """Yield every visible file, or only this file or those in this folder.

        Raises:
            SearchError: The folder of the workspace is not there.
            WorkspaceError: The path may not be shown.
        """
        root = self.workspace.root
        if not root.is_dir():
            raise SearchError(f"cannot read the documents: {root} is not there. The index is kept; bring it back.")
        if below not in ("", "."):
            try:
                below = self.workspace.shown(self.workspace.resolve(below))
            except WorkspaceError as exc:
                raise SearchError(str(exc)) from exc
        files = walk(self.workspace, below)
        if not self.suffixes:
            return files
        return (file for file in files if file.path.lower().endswith(self.suffixes))

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading, through all checks of the workspace."""
        return self.workspace.open(path)
