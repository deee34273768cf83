"""The code of every traced function, for the recorder of lines, which is loaded on demand."""

from collections.abc import Callable
from types import CodeType
from typing import Final

traced_code: Final[set[CodeType]] = set()
watchers: Final[list[Callable[[list[CodeType]], None]]] = []
"""Called with the code of each function that is traced from now on."""


def register(code: CodeType) -> None:
    """Store the code of a traced function, and pass it to the watchers."""
    traced_code.add(code)
    for watch in watchers:
        watch([code])
