"""Search runs by status, agent and id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loom_runner._model.arguments import check_type
from loom_runner._model.formatting import shorten
from loom_runner._model.run_filter import RunFilter
from loom_runner._model.statuses import MOVES
from loom_runner._queries.liveness import ShownStatus, is_interrupted, shown_status
from loom_runner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loom_runner._model.records import RunRecord
    from loom_runner._store.protocol import StoreReader

__all__ = ["SHOWN_STATUSES", "count_rows", "each_running", "search_runs"]

_PAGE_RUNS: Final = 50
"""Runs per page. Each row contains the run's state."""

SHOWN_STATUSES: Final[tuple[ShownStatus, ...]] = (*MOVES, "interrupted")
"""The statuses that a list shows and accepts."""


def search_runs(
    reader: StoreReader,
    *,
    limit: int,
    statuses: Sequence[str] = (),
    agent: str | None = None,
    prefix: str | None = None,
    text: str | None = None,
    after: RunRecord | None = None,
) -> list[RunRecord]:
    """Return the runs that match all conditions, the most recently changed first.

    Raises:
        UsageError: There is no such status, or an argument is not of its type.
    """
    for status in statuses:
        if status not in SHOWN_STATUSES:
            known = ", ".join(SHOWN_STATUSES)
            raise UsageError(f"cannot list runs with status {shorten(repr(status), 40)}: the statuses are {known}.")
    for name, value in (("agent", agent), ("prefix", prefix), ("text", text)):
        if value is not None:
            check_type("list runs", name, value, str, "a string")
    stored = {"running" if status == "interrupted" else status for status in statuses}
    which = RunFilter(tuple(status for status in MOVES if status in stored), agent, prefix or None, text or None)
    if not statuses or "running" not in stored or {"running", "interrupted"} <= set(statuses):
        return reader.list_runs(limit=limit, after=after, which=which)
    # The rows do not say whether a process is gone: read pages until enough runs match.
    found: list[RunRecord] = []
    while len(found) < limit and (page := reader.list_runs(limit=limit, after=after, which=which)):
        found += [run for run in page if shown_status(run) in statuses]
        after = page[-1]
    return found[:limit]


def count_rows(reader: StoreReader) -> dict[str, dict[str, int]]:
    """Count runs, tool calls and approvals by status, as `list` shows it."""
    counts = reader.counts()
    interrupted = sum(is_interrupted(run) for run in each_running(reader))
    if interrupted:
        running = counts["runs"].pop("running") - interrupted
        counts["runs"] |= {"interrupted": interrupted} | ({"running": running} if running else {})
    return counts


def each_running(reader: StoreReader) -> Iterator[RunRecord]:
    """Yield the runs with the status `running`: those of live processes, and interrupted ones."""
    last: RunRecord | None = None
    while page := reader.list_runs(limit=_PAGE_RUNS, after=last, which=RunFilter(("running",))):
        yield from page
        last = page[-1]
