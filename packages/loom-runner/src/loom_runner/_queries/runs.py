"""Questions about the runs of a database, without an agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from loom_runner._model.clock import SystemClock
from loom_runner._model.formatting import shorten
from loom_runner._queries.approvals import read_approvals
from loom_runner._queries.explain import Explanation, explain
from loom_runner._queries.search import count_rows, search_runs
from loom_runner._queries.views import approval_view, attempt_views, run_view, step_views, tool_view, try_view
from loom_runner._store.in_doubt import read_tool_calls
from loom_runner._store.lookup import read_run, read_run_if_any
from loom_runner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike
    from pathlib import Path

    from loom_runner._model.clock import Clock
    from loom_runner._model.records import RunRecord
    from loom_runner._store.protocol import Store, StoreReader

__all__ = ["Runs"]

_MAX_NUMBER: Final = 10**15
"""Below the largest integer of SQLite; the commands have the same limit."""


class Runs:
    """Read the runs of a store: their steps, calls, waits and results.

    Every answer is plain JSON, as the commands print it. No agent is needed.

    Args:
        store: An open store, or its reader.
        clock: The time that decides which approval requests have expired.

    Raises:
        UnknownRun: There is no such run; raised by every method that takes a run id, except `find`.
        UsageError: An argument is not valid: no store, a run id that is not a text, a negative
            number.
    """

    def __init__(self, store: Store | StoreReader, *, clock: Clock | None = None) -> None:
        self._reader: StoreReader = getattr(store, "reader", store)  # type: ignore[arg-type]  # a reader has none
        if not hasattr(self._reader, "list_runs"):
            raise UsageError(
                f"cannot read the runs of {shorten(repr(store), 40)}: it is no store. "
                "Pass an open store, for instance open_store('runs.sqlite')."
            )
        self._clock = clock or SystemClock()

    def get(self, run_id: str) -> dict[str, Any]:
        """Return a run: status, step index, state, result, error and wait."""
        return run_view(self._record(run_id, "get"))

    def find(self, run_id: str) -> dict[str, Any] | None:
        """Return a run; None if there is no such run."""
        record = read_run_if_any(self._reader, run_id, "find")
        return None if record is None else run_view(record)

    def list(
        self,
        *,
        limit: int = 100,
        status: str | Sequence[str] | None = None,
        agent: str | None = None,
        prefix: str | None = None,
        text: str | None = None,
        after: str | None = None,
    ) -> list[dict[str, Any]]:
        """Return the runs that match all conditions, the most recently changed first.

        Args:
            limit: The largest number.
            status: A status, or several; `interrupted` are the running ones whose process is gone.
            agent: The name of the agent (the run's `program`).
            prefix: The beginning of the run id.
            text: A part of the run id.
            after: The id of the last run of the previous page.

        Raises:
            UsageError: There is no such status, or an argument is not of its type.
        """
        _check_page("list runs", limit=limit)
        wanted = (status,) if isinstance(status, str) else tuple(status or ())
        last = None if after is None else self._record(after, "list the runs after")
        found = search_runs(
            self._reader, limit=limit, statuses=wanted, agent=agent, prefix=prefix, text=text, after=last
        )
        return [run_view(record) for record in found]

    def history(self, run_id: str, *, first: int = 0, limit: int = 1000) -> Sequence[dict[str, Any]]:
        """Return committed steps, each with the checkpoint after it and the decisions of people
        about its calls.
        """
        self._record(run_id, "show the history of")
        _check_page("show the history", first=first, limit=limit)
        return step_views(self._reader, run_id, first=first, limit=limit)

    def attempts(self, run_id: str, *, first: int = 0, limit: int = 1000) -> Sequence[dict[str, Any]]:
        """Return every attempt of every step: failed, interrupted and committed ones."""
        record = self._record(run_id, "show the attempts of")
        _check_page("show the attempts", first=first, limit=limit)
        return attempt_views(self._reader, record, first=first, limit=limit)

    def tool_calls(self, run_id: str, *, first: int = 0, limit: int | None = None) -> Sequence[dict[str, Any]]:
        """Return the tool calls of a run, from the number `first` on; by default all."""
        self._record(run_id, "show the tool calls of")
        _check_page("show the tool calls", first=first, **({} if limit is None else {"limit": limit}))
        calls = read_tool_calls(self._reader, run_id, first=first, limit=-1 if limit is None else limit)
        return [tool_view(call) for call in calls]

    def tool_tries(self, run_id: str) -> Sequence[dict[str, Any]]:
        """Return the earlier tries of the run's repeated tool calls; the last try is the call's."""
        self._record(run_id, "show the tries of")
        return [try_view(run_id, earlier) for earlier in self._reader.tool_tries(run_id)]

    def doubts(self, run_id: str | None = None) -> Sequence[dict[str, Any]]:
        """Return the tool calls in doubt (started, without a recorded end), of one run or of
        all.
        """
        if run_id is not None:
            self._record(run_id, "show the calls in doubt of")
        return [tool_view(call) for call in read_tool_calls(self._reader, run_id, in_doubt=True)]

    def approvals(self, run_id: str | None = None, *, pending_only: bool = False) -> Sequence[dict[str, Any]]:
        """Return the approval requests of one run or of all, in the order of their creation."""
        found = read_approvals(self._reader, run_id, pending_only=pending_only, clock=self._clock)
        return [approval_view(approval) for approval in found]

    def children(self, run_id: str) -> Sequence[dict[str, Any]]:
        """Return the child runs of a run."""
        self._record(run_id, "show the children of")
        return [run_view(record) for record in self._reader.children(run_id)]

    def stats(self) -> dict[str, Any]:
        """Count runs, tool calls and approvals by status."""
        return count_rows(self._reader)

    def query(
        self,
        sql: str,
        parameters: Sequence[Any] | Mapping[str, Any] = (),
        *,
        limit: int = 10_000,
        timeout_s: float = 30.0,
    ) -> Sequence[dict[str, Any]]:
        """Return the rows of a reading SQL statement, each as a dict of its columns.

        This reads what is committed, on a connection of its own, while runs are driven. (A second
        SQLite library in this process, such as Python's `sqlite3`, is refused: it would lose
        commits.) The tables are not a stable interface: `loom-runner query "SELECT name, sql FROM
        sqlite_schema"` shows those of this version. Values are shown as they are stored: large or
        encrypted ones are bytes.

        Args:
            sql: One statement that only reads, for instance `SELECT status, count(*) AS n FROM runs
                GROUP BY status`.
            parameters: The values for `?`, or a dict of those for `:name`.
            limit: The largest number of rows; more are an error.
            timeout_s: The longest time in seconds; more is an error.

        Raises:
            UsageError: The statement is wrong, would write, or exceeds a limit; or this kind of
                store has no SQL.
        """
        _check_page("query", limit=limit)
        given: object = timeout_s
        if isinstance(given, bool) or not isinstance(given, int | float) or not given > 0:
            raise UsageError(f"cannot query with timeout_s={shorten(repr(timeout_s), 40)}: it is a number above 0.")
        rows: Sequence[dict[str, Any]] = self._of_sqlite("query")(sql, parameters, limit=limit, timeout_s=timeout_s)
        return rows

    def backup(self, path: str | PathLike[str]) -> int:
        """Write a copy of the database to a new file, while runs are driven; return its size in
        bytes.

        The copy has everything that was committed when the copying began, in one file. It works
        also after the file of an open store was deleted or replaced.

        Args:
            path: The new file, as `open_store` takes it.

        Raises:
            UsageError: The file exists or cannot be written, or this kind of store has no backup.
            StoreError: The database cannot be read.

        Durability: The copy is complete and on disk when this returns; before, it has another name.
        """
        size_bytes: int = self._of_sqlite("backup")(path)
        return size_bytes

    def _of_sqlite(self, name: str) -> Any:
        method = getattr(self._reader, name, None)
        if method is None:
            raise UsageError(f"cannot {name} {self._reader.description}: only a SQLite store can. Use its own tools.")
        return method

    def explain(self, run_id: str) -> Explanation:
        """Explain what happened to a run; `str()` of it is the text, `.data` the facts."""
        return explain(self._reader, run_id)

    def write_trace(self, run_id: str, path: str | Path) -> None:
        """Write a run's trace page from its rows, with `flow_xray`.

        Raises:
            UsageError: The page cannot be written.
        """
        from loom_runner._queries.tracing import write_trace

        write_trace(self._reader, run_id, path)

    def _record(self, run_id: str, verb: str) -> RunRecord:
        return read_run(self._reader, run_id, verb)


def _check_page(verb: str, **numbers: int) -> None:
    for name, number in numbers.items():
        if type(number) is not int or not 0 <= number <= _MAX_NUMBER:
            given = shorten(repr(number), 40)
            raise UsageError(f"cannot {verb} with {name}={given}: it is a whole number from 0 to {_MAX_NUMBER:,}.")
