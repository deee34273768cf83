"""A function of the source and its branches, as data."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Branch:
    """One branch of a function: a block under `if`, `else`, `for`, `while`, `except`, `case`.

    Args:
        line: The line of the keyword that opens it.
        lines: The first and the last line of the block.
        calls: Ids of the functions of the index that its first statement calls by name.
    """

    line: int
    text: str
    lines: tuple[int, int]
    calls: tuple[str, ...]


@dataclass(slots=True)
class Function:
    """A function of the source; `id` is "file:line" as `Span.code` has it."""

    id: str
    name: str
    file: str
    line: int
    body: tuple[int, int]
    is_traced: bool
    calls: list[str] = field(default_factory=list)
    branches: list[Branch] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def calls_of(self, callee: str) -> int:
        """Return how many references of this function name another one."""
        return self.counts.get(callee, 0)
