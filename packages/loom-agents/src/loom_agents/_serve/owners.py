"""Who started each run over HTTP, stored beside the runs.

A run belongs to the subject of the token that started it, and so do the runs that it starts. A run
that was started elsewhere, for instance on the command line, belongs to nobody here: only the scope
`admin` acts on it. Ids of runs that were deleted can be used again, so an owner is stored with the
time at which the run was created.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from loom_runner import Runs
from loom_runner.store import open_side_tables

from loom_agents._errors import NotPermittedError
from loom_agents._serve.tokens import Caller

__all__ = ["Owners"]

_MIGRATIONS: Final = (
    """
CREATE TABLE IF NOT EXISTS serve_owners (
    run_id         TEXT PRIMARY KEY,
    owner          TEXT NOT NULL,
    run_created_at TEXT
);
""",
)
_CLAIM: Final = """INSERT INTO serve_owners VALUES (?1, ?2, NULL)
    ON CONFLICT DO UPDATE SET owner = ?2, run_created_at = NULL WHERE run_created_at IS NOT NULL"""
_CONFIRM: Final = "UPDATE serve_owners SET run_created_at = ? WHERE run_id = ?"
_RELEASE: Final = "DELETE FROM serve_owners WHERE run_id = ? AND owner = ? AND run_created_at IS NULL"
_SELECT: Final = """SELECT run_id, owner, run_created_at FROM serve_owners
    WHERE run_id IN (SELECT value FROM json_each(?))"""


class Owners:
    """The owners of the runs of one database.

    Args:
        address: The database.
        runs: Its runs.
    """

    def __init__(self, address: str, runs: Runs) -> None:
        self._tables = open_side_tables(address, "serve_owners", _MIGRATIONS, is_private=True)
        self._runs = runs

    def close(self) -> None:
        """Close the database."""
        self._tables.close()

    def of(self, runs: Iterable[Mapping[str, Any]]) -> dict[str, str | None]:
        """Return the owner of each run, by its id; None for a run that was not started over
        HTTP.
        """
        roots = {run["run_id"]: self._root(run) for run in runs}
        known = {root["run_id"]: root["created_at"] for root in roots.values()}
        rows = self._tables.rows(_SELECT, (json.dumps(list(known)),))
        owners = {run_id: owner for run_id, owner, created_at in rows if created_at in (None, known[run_id])}
        return {run_id: owners.get(root["run_id"]) for run_id, root in roots.items()}

    def require(self, run: Mapping[str, Any], caller: Caller, verb: str) -> None:
        """Check that a caller may act on a run.

        Raises:
            NotPermittedError: It is not theirs, and they lack the scope `admin`.
        """
        if "admin" not in caller.scopes and self.of([run])[run["run_id"]] != caller.name:
            raise _refusal(run["run_id"], verb)

    def claim(self, run_id: str, caller: Caller) -> None:
        """Record who is about to create a run. There is no such run now.

        Raises:
            NotPermittedError: Somebody else is about to create it.

        Durability: it is on disk when this returns.
        """
        with self._tables.transaction() as db:
            db.execute(_CLAIM, (run_id, caller.name))
            rows = db.execute("SELECT owner FROM serve_owners WHERE run_id = ?", (run_id,)).fetchall()
        if rows[0][0] != caller.name:
            raise _refusal(run_id, "start")

    def confirm(self, run_id: str) -> None:
        """Record that the run that was claimed exists now."""
        run = self._runs.find(run_id)
        if run is not None:
            with self._tables.transaction() as db:
                db.execute(_CONFIRM, (run["created_at"], run_id))

    def release(self, run_id: str, caller: Caller) -> None:
        """Forget a claim whose run was not created."""
        with self._tables.transaction() as db:
            db.execute(_RELEASE, (run_id, caller.name))

    def _root(self, run: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the run that a run descends from, by the rows: an id alone proves nothing."""
        while run["parent_run_id"] is not None:
            parent = self._runs.find(run["parent_run_id"])
            if parent is None:
                break
            run = parent
        return run


def _refusal(run_id: str, verb: str) -> NotPermittedError:
    return NotPermittedError(
        f"cannot {verb} {run_id!r}: it is not your run. Use another id, or a token with the scope admin."
    )
