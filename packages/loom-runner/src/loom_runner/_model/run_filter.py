"""Which runs a list shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from loom_runner._model.statuses import Status

__all__ = ["ALL_RUNS", "RunFilter"]


@dataclass(frozen=True, slots=True)
class RunFilter:
    """The conditions that a run has to meet, all of them.

    Attributes:
        statuses: One of these statuses; empty for any.
        program: The name of its agent.
        prefix: The beginning of its id.
        text: A part of its id; upper and lower case differ.
    """

    statuses: tuple[Status, ...] = ()
    program: str | None = None
    prefix: str | None = None
    text: str | None = None


ALL_RUNS: Final = RunFilter()
