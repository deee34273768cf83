"""The files that an index is made of: what the caller that lists and opens them must provide."""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, Protocol


class ListedFile(NamedTuple):
    """Hold one visible file: its path, and its size and time to detect changes."""

    path: str
    size_bytes: int
    modified_ns: int


class Files(Protocol):
    """List and open the files of one folder. Paths are relative to it, with slashes."""

    def walk(self, below: str = "") -> Iterator[ListedFile]:
        """Yield every file that may be shown, or only this file or those in this folder.

        Raises:
            SearchError: The folder itself is not there.
        """
        ...

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading.

        Raises:
            ToolError: It cannot be opened or may not be shown.
        """
        ...
