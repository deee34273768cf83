"""The tables, as an append-only list of migrations; `user_version` is the number of applied
migrations.

A released migration is never edited. Times are microseconds since 1970, except `renewed_at` and
`lease_ms`, which are milliseconds of the database's clock. Columns with content that users wrote
hold cells (see `_store/cells.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loom_runner._store.sqlite.readiness import set_ready_at_of_waiting_runs

if TYPE_CHECKING:
    from collections.abc import Callable

    import apsw

__all__ = ["APPLICATION_ID", "CELLS", "FILLED_IN", "MIGRATIONS"]

APPLICATION_ID: Final = 0x4C6F6F6D
"""`Loom` in the header of the file; it identifies databases of this package."""

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE runs (
        run_key    INTEGER PRIMARY KEY,
        run_id     TEXT NOT NULL UNIQUE,
        status     TEXT NOT NULL,
        program    TEXT NOT NULL,
        step_index INTEGER NOT NULL DEFAULT 0,
        failures   INTEGER NOT NULL DEFAULT 0,
        crashes    INTEGER NOT NULL DEFAULT 0,
        due_at     INTEGER,
        fence      INTEGER NOT NULL DEFAULT 0,
        renewed_at INTEGER,
        lease_ms   INTEGER,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        wait       TEXT,
        error      TEXT,
        result     TEXT,
        input      TEXT NOT NULL,
        encoding   TEXT NOT NULL DEFAULT 'json',
        state      TEXT NOT NULL
    );

    CREATE TABLE steps (
        run_key    INTEGER NOT NULL REFERENCES runs,
        step_index INTEGER NOT NULL,
        outcome    TEXT NOT NULL,
        attempts   INTEGER NOT NULL,
        started_at INTEGER NOT NULL,
        ended_at   INTEGER NOT NULL,
        fence      INTEGER NOT NULL,
        detail     TEXT,
        encoding   TEXT NOT NULL DEFAULT 'json',
        state      TEXT,
        PRIMARY KEY (run_key, step_index)
    );

    CREATE TABLE attempts (
        run_key    INTEGER NOT NULL REFERENCES runs,
        step_index INTEGER NOT NULL,
        attempt    INTEGER NOT NULL,
        kind       TEXT NOT NULL,
        started_at INTEGER,
        ended_at   INTEGER NOT NULL,
        retry_at   INTEGER,
        fence      INTEGER NOT NULL,
        error      TEXT NOT NULL
    );
    CREATE INDEX attempts_of_run ON attempts (run_key, step_index);

    CREATE TABLE tool_calls (
        number         INTEGER PRIMARY KEY AUTOINCREMENT,
        run_key        INTEGER NOT NULL REFERENCES runs,
        step_index     INTEGER NOT NULL,
        key            TEXT NOT NULL,
        name           TEXT NOT NULL,
        status         TEXT NOT NULL,
        tries          INTEGER NOT NULL DEFAULT 1,
        started_at     INTEGER NOT NULL,
        ended_at       INTEGER,
        fence          INTEGER NOT NULL,
        retryable      INTEGER NOT NULL DEFAULT 0,
        decided_by     TEXT,
        arguments_hash TEXT NOT NULL,
        arguments      TEXT NOT NULL,
        error          TEXT,
        result         TEXT,
        UNIQUE (run_key, step_index, key)
    );
    CREATE INDEX tool_calls_open ON tool_calls (status) WHERE status IN ('started', 'in_doubt');

    CREATE TABLE leases (
        run_key    INTEGER NOT NULL REFERENCES runs,
        fence      INTEGER NOT NULL,
        machine    TEXT NOT NULL,
        pid        INTEGER NOT NULL,
        process    TEXT NOT NULL,
        code       TEXT NOT NULL,
        code_at    TEXT NOT NULL,
        first_step INTEGER NOT NULL,
        taken_at   INTEGER NOT NULL,
        ended_at   INTEGER,
        ended_as   TEXT,
        note       TEXT,
        PRIMARY KEY (run_key, fence)
    ) WITHOUT ROWID;

    CREATE TABLE signals (
        signal_key    INTEGER PRIMARY KEY,
        run_key       INTEGER NOT NULL REFERENCES runs,
        name          TEXT NOT NULL,
        payload       TEXT NOT NULL,
        sent_at       INTEGER NOT NULL,
        taken_in_step INTEGER
    );
    CREATE INDEX signals_of_run ON signals (run_key, name);
    """,
    # 2: the earlier tries of a repeated call.
    """
    CREATE TABLE tool_tries (
        number     INTEGER NOT NULL REFERENCES tool_calls,
        try        INTEGER NOT NULL,
        status     TEXT NOT NULL,
        started_at INTEGER NOT NULL,
        ended_at   INTEGER,
        fence      INTEGER NOT NULL,
        error      TEXT,
        PRIMARY KEY (number, try)
    ) WITHOUT ROWID;
    """,
    # 3: one B-tree for a run's steps instead of two, blobs, facts about the whole database, the
    # module of a lease, sums over a run's steps, and the number of steps that retention deleted.
    # The key of a step's row combines the run's key and the step's number in one integer, so the
    # table needs no index, which saves a fifth of the cost of a commit. A run's key is never reused
    # after the run is deleted (AUTOINCREMENT), because a process may still hold a claim with it.
    """
    CREATE TABLE steps_3 (
        step_key   INTEGER PRIMARY KEY,
        run_key    INTEGER AS (step_key >> 32),
        step_index INTEGER AS (step_key & 0xffffffff),
        outcome    TEXT NOT NULL,
        attempts   INTEGER NOT NULL,
        started_at INTEGER NOT NULL,
        ended_at   INTEGER NOT NULL,
        fence      INTEGER NOT NULL,
        detail     TEXT,
        state      TEXT
    );
    INSERT INTO steps_3 (step_key, outcome, attempts, started_at, ended_at, fence, detail, state)
        SELECT (run_key << 32) | step_index, outcome, attempts, started_at, ended_at, fence, detail, state FROM steps
        ORDER BY run_key, step_index;
    DROP TABLE steps;
    ALTER TABLE steps_3 RENAME TO steps;

    CREATE TABLE runs_3 (
        run_key       INTEGER PRIMARY KEY AUTOINCREMENT,
        run_id        TEXT NOT NULL UNIQUE,
        status        TEXT NOT NULL,
        program       TEXT NOT NULL,
        step_index    INTEGER NOT NULL DEFAULT 0,
        failures      INTEGER NOT NULL DEFAULT 0,
        crashes       INTEGER NOT NULL DEFAULT 0,
        due_at        INTEGER,
        fence         INTEGER NOT NULL DEFAULT 0,
        renewed_at    INTEGER,
        lease_ms      INTEGER,
        created_at    INTEGER NOT NULL,
        updated_at    INTEGER NOT NULL,
        first_step    INTEGER NOT NULL DEFAULT 0,
        dropped_steps INTEGER NOT NULL DEFAULT 0,
        work_us       INTEGER NOT NULL DEFAULT 0,
        slowest_us    INTEGER,
        slowest_step  INTEGER,
        wait          TEXT,
        error         TEXT,
        result        TEXT,
        input         TEXT NOT NULL,
        state         TEXT NOT NULL
    );
    INSERT INTO runs_3 (run_key, run_id, status, program, step_index, failures, crashes, due_at, fence, renewed_at,
            lease_ms, created_at, updated_at, wait, error, result, input, state)
        SELECT run_key, run_id, status, program, step_index, failures, crashes, due_at, fence, renewed_at,
            lease_ms, created_at, updated_at, wait, error, result, input, state FROM runs;
    DROP TABLE runs;
    ALTER TABLE runs_3 RENAME TO runs;

    CREATE TABLE blobs (
        hash       BLOB PRIMARY KEY,
        size_bytes INTEGER NOT NULL,
        content    BLOB NOT NULL
    ) WITHOUT ROWID;

    CREATE TABLE about (
        name  TEXT PRIMARY KEY,
        value NOT NULL
    ) WITHOUT ROWID;

    ALTER TABLE leases ADD COLUMN module TEXT;
    UPDATE runs SET work_us = coalesce((SELECT sum(ended_at - started_at) FROM steps
        WHERE step_key BETWEEN runs.run_key << 32 AND (runs.run_key << 32) + 0xffffffff), 0);
    UPDATE runs SET (slowest_us, slowest_step) = (SELECT ended_at - started_at, step_key & 0xffffffff FROM steps
        WHERE step_key BETWEEN runs.run_key << 32 AND (runs.run_key << 32) + 0xffffffff ORDER BY 1 DESC, 2 LIMIT 1);
    CREATE INDEX tool_calls_by_status ON tool_calls (run_key, status);
    CREATE INDEX tool_calls_decided ON tool_calls (run_key, decided_by) WHERE decided_by IS NOT NULL;
    """,
    # 4: approvals; children, forks, budgets and requests of runs; versions of states; calls
    # numbered in their run.
    """
    CREATE TABLE approvals (
        run_key        INTEGER NOT NULL REFERENCES runs,
        number         INTEGER NOT NULL,
        step_index     INTEGER NOT NULL,
        key            TEXT NOT NULL,
        name           TEXT NOT NULL,
        status         TEXT NOT NULL,
        requested_at   INTEGER NOT NULL,
        expires_at     INTEGER,
        needed         INTEGER NOT NULL,
        decided        INTEGER NOT NULL DEFAULT 0,
        reason         TEXT NOT NULL,
        policy         TEXT NOT NULL,
        decisions      TEXT NOT NULL,
        arguments_hash TEXT NOT NULL,
        arguments      TEXT NOT NULL,
        edited         TEXT,
        PRIMARY KEY (run_key, number),
        UNIQUE (run_key, step_index, key)
    );
    CREATE INDEX approvals_pending ON approvals (status) WHERE status = 'pending';

    ALTER TABLE runs ADD COLUMN parent_key INTEGER REFERENCES runs;
    ALTER TABLE runs ADD COLUMN forked_from TEXT;
    ALTER TABLE runs ADD COLUMN budget TEXT;
    ALTER TABLE runs ADD COLUMN spent_tokens INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE runs ADD COLUMN spent_cost_usd REAL NOT NULL DEFAULT 0;
    ALTER TABLE runs ADD COLUMN request TEXT;
    ALTER TABLE runs ADD COLUMN state_version INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE leases ADD COLUMN state_version INTEGER NOT NULL DEFAULT 1;
    CREATE INDEX runs_of_parent ON runs (parent_key) WHERE parent_key IS NOT NULL;
    ALTER TABLE tool_calls ADD COLUMN ordinal INTEGER;
    UPDATE tool_calls SET ordinal = counted.ordinal FROM (
        SELECT number, row_number() OVER (PARTITION BY run_key ORDER BY number) AS ordinal FROM tool_calls
    ) counted WHERE counted.number = tool_calls.number;
    UPDATE runs SET wait = json_set(wait, '$.doubt',
        (SELECT ordinal FROM tool_calls WHERE number = wait ->> 'doubt')) WHERE wait ->> 'doubt' IS NOT NULL;
    CREATE UNIQUE INDEX tool_calls_numbered ON tool_calls (run_key, ordinal);
    CREATE INDEX runs_open ON runs (program) WHERE status IN ('created', 'running', 'waiting', 'paused');
    """,
    # 5: when a waiting run can be resumed.
    """
    ALTER TABLE runs ADD COLUMN ready_at INTEGER;
    CREATE INDEX runs_forks_waiting ON runs (run_key) WHERE status = 'waiting' AND forked_from IS NOT NULL;
    """,
    # 6: lists by status and program, newest first, and ready runs, without scans. Committing a step
    # changes `updated_at` of a running run, so the indexes on it omit running runs: they are
    # written when a run starts or ends, and cost a step nothing.
    """
    DROP INDEX runs_open;
    CREATE INDEX runs_running ON runs (program) WHERE status = 'running';
    CREATE INDEX runs_ready ON runs (program, ready_at) WHERE ready_at IS NOT NULL;
    CREATE INDEX runs_by_status ON runs (status, updated_at) WHERE status <> 'running';
    CREATE INDEX runs_by_program ON runs (program, status, updated_at) WHERE status <> 'running';
    CREATE INDEX approvals_by_status ON approvals (status);
    UPDATE runs SET ready_at = coalesce(due_at, 0) WHERE status = 'paused' AND (SELECT ended_as FROM leases l
        WHERE l.run_key = runs.run_key AND l.fence = runs.fence) = 'interrupted';
    """,
)

FILLED_IN: Final[dict[int, Callable[[apsw.Connection], None]]] = {5: set_ready_at_of_waiting_runs}
"""Computed from the existing rows, after the migration of this number."""

CELLS: Final[tuple[tuple[str, str], ...]] = (
    ("runs", "state"),
    ("runs", "input"),
    ("runs", "result"),
    ("runs", "error"),
    ("steps", "state"),
    ("attempts", "error"),
    ("tool_calls", "arguments_hash"),
    ("tool_calls", "arguments"),
    ("tool_calls", "error"),
    ("tool_calls", "result"),
    ("tool_tries", "error"),
    ("leases", "note"),
    ("signals", "payload"),
    ("approvals", "reason"),
    ("approvals", "policy"),
    ("approvals", "decisions"),
    ("approvals", "arguments_hash"),
    ("approvals", "arguments"),
    ("approvals", "edited"),
    ("blobs", "content"),
)
"""The columns that hold cells (see `_store/cells.py`): these are encrypted, and may reference a
blob.
"""
