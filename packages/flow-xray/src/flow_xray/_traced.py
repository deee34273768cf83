"""The code of every traced function, for those who watch its lines (`_lines`, loaded only then)."""

from collections.abc import Callable
from types import CodeType
from typing import Final

traced_code: Final[set[CodeType]] = set()
watchers: Final[list[Callable[[list[CodeType]], None]]] = []
"""What is told of code that is traced from now on."""


def note_traced(code: CodeType) -> None:
    """Remember that a function was wrapped; watch it at once when somebody watches."""
    traced_code.add(code)
    for watch in watchers:
        watch([code])
