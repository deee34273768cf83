"""Durable loops on SQLite as a careful person writes them: one run, and many in groups."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import apsw

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loom_runner import Durability

__all__ = ["Groups", "count_by_hand", "count_in_groups", "open_by_hand"]

SCHEMA = """
    CREATE TABLE runs (id TEXT PRIMARY KEY, step INTEGER, state TEXT);
    CREATE TABLE steps (run INTEGER, step INTEGER, state TEXT, PRIMARY KEY (run, step));
"""


async def step_by_hand(state: dict[str, int]) -> dict[str, int]:
    """Count one further."""
    return {"n": state["n"] + 1, "goal": state["goal"]}


async def count_by_hand(db: apsw.Connection, run: int, goal: int) -> None:
    """The loop that a careful person writes."""

    state, index = {"n": 0, "goal": goal}, 0
    db.execute("INSERT INTO runs VALUES (?, 0, ?)", (str(run), json.dumps(state)))
    while state["n"] < goal:
        state = await step_by_hand(state)
        text = json.dumps(state)
        db.execute("BEGIN IMMEDIATE")
        try:
            db.execute(
                "UPDATE runs SET step = ?, state = ? WHERE id = ? AND step = ?", (index + 1, text, str(run), index)
            )
            if db.changes() != 1:
                raise RuntimeError("somebody else advanced the run")
            db.execute("INSERT INTO steps VALUES (?, ?, ?)", (run, index, text))
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")
        index += 1


class Groups:
    """Group commit by hand: the writes of one turn of the loop, at most 250 in a transaction."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._queue: list[tuple[Callable[[apsw.Connection], Any], asyncio.Future[Any]]] = []

    def write(self, work: Callable[[apsw.Connection], Any]) -> asyncio.Future[Any]:
        """Run `work` in the next group; the future is done when the group is committed."""
        loop = asyncio.get_running_loop()
        if not self._queue:
            loop.call_soon(self._flush)
        done = loop.create_future()
        self._queue.append((work, done))
        return done

    def _flush(self) -> None:
        queue, self._queue = self._queue, []
        for first in range(0, len(queue), 250):
            group = queue[first : first + 250]
            self._db.execute("BEGIN IMMEDIATE")
            try:
                results = [work(self._db) for work, _ in group]
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
            for (_, done), result in zip(group, results, strict=True):
                done.set_result(result)


NOW_MS = "CAST(unixepoch('subsec') * 1000 AS INTEGER)"
"""The lease is renewed by the database's clock, as the store does."""


async def count_in_groups(groups: Groups, run_id: str, goal: int) -> None:
    """The same loop for many runs: the rows of the store's own tables (run, lease, steps, end), in
    the same groups."""
    state = {"n": 0, "goal": goal}
    began = time.time_ns() // 1000

    def create(db: apsw.Connection) -> int:
        text = json.dumps(state)
        db.execute(
            "INSERT INTO runs (run_id, status, program, state, input, created_at, updated_at, fence, renewed_at,"
            f" lease_ms) VALUES (?, 'running', 'hand', ?, ?, ?, ?, 1, {NOW_MS}, 30000)",
            (run_id, text, text, began, began),
        )
        key = db.last_insert_rowid()
        db.execute(
            "INSERT INTO leases (run_key, fence, machine, pid, process, code, code_at, first_step, taken_at)"
            " VALUES (?, 1, 'here', 1, 'p', 'code', 'hand.py:1', 0, ?)",
            (key, began),
        )
        return key

    key = await groups.write(create)
    index = 0

    def commit(text: str, outcome: str, started: int, ended: int) -> Callable[[apsw.Connection], None]:
        def work(db: apsw.Connection) -> None:
            took = ended - started
            end = ", status = 'completed', result = ?2" if outcome == "complete" else ", state = ?2"
            db.execute(
                f"UPDATE runs SET step_index = ?1{end}, updated_at = ?3, renewed_at = {NOW_MS}, work_us = work_us + ?4,"
                " slowest_us = max(ifnull(slowest_us, 0), ?4) WHERE run_key = ?5 AND fence = 1 AND step_index = ?6",
                (index + 1, text, ended, took, key, index),
            )
            if db.changes() != 1:
                raise RuntimeError("somebody else advanced the run")
            db.execute(
                "INSERT INTO steps (step_key, outcome, attempts, started_at, ended_at, fence, state)"
                " VALUES (?, ?, 1, ?, ?, 1, ?)",
                ((key << 32) | index, outcome, started, ended, text),
            )
            if outcome == "complete":
                db.execute(
                    "UPDATE leases SET ended_at = ?, ended_as = 'completed' WHERE run_key = ? AND fence = 1",
                    (ended, key),
                )

        return work

    while state["n"] < goal:
        started = time.time_ns() // 1000
        state = await step_by_hand(state)
        await groups.write(commit(json.dumps(state), "continue", started, time.time_ns() // 1000))
        index += 1
    now = time.time_ns() // 1000
    await groups.write(commit(json.dumps(state["n"]), "complete", now, now))


def open_by_hand(folder: Path, durability: Durability) -> apsw.Connection:
    """Open a database as the store does."""
    db = apsw.Connection(str(folder / "hand.sqlite"))
    db.pragma("synchronous", "EXTRA")
    db.pragma("auto_vacuum", 2)
    db.pragma("journal_mode", "wal")
    db.execute(SCHEMA)
    db.pragma("synchronous", "FULL" if durability == "power" else "NORMAL")
    return db
