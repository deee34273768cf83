"""SQL that a person asks: read-only, on a connection of its own, with limits."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from loom_runner._model.formatting import shorten, size
from loom_runner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import apsw

    from loom_runner._store.sqlite.file import SQLiteFile

__all__ = ["query"]

_PRAGMAS: Final = frozenset({
    "table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "foreign_key_list",
    "data_version", "user_version", "page_count", "page_size", "freelist_count",
})  # fmt: skip
"""The pragmas that only read, when they set nothing."""
_STEPS_PER_CHECK: Final = 10_000
_MAX_VALUE_BYTES: Final = 32_000_000
"""The largest text or BLOB in a query."""
_MAX_RESULT_BYTES: Final = 64_000_000
"""The largest size of all texts and BLOBs of a result."""
_FORBIDDEN_FUNCTIONS: Final = frozenset({"load_extension", "fts3_tokenizer"})


def query(
    file: SQLiteFile, sql: str, parameters: Sequence[Any] | Mapping[str, Any], *, limit: int, timeout_s: float
) -> list[dict[str, Any]]:
    """Return the rows of one reading statement; see `Runs.query`."""
    if not isinstance(sql, str):
        raise UsageError(f"cannot query: the SQL is a text, not {type(sql).__name__}.")
    _check_parameters(parameters)
    db = file.second(read_only=True)
    try:
        return _rows(db, sql, parameters, limit=limit, timeout_s=timeout_s)
    finally:
        db.close()


def _check_parameters(parameters: object) -> None:
    from collections.abc import Mapping, Sequence

    if isinstance(parameters, str | bytes) or not isinstance(parameters, Sequence | Mapping):
        raise UsageError(
            f"cannot query with parameters={shorten(repr(parameters), 40)}: they are a sequence for ?, or a dict for "
            ":name. Pass (value,) for a single one."
        )


def _rows(
    db: apsw.Connection, sql: str, parameters: Sequence[Any] | Mapping[str, Any], *, limit: int, timeout_s: float
) -> list[dict[str, Any]]:
    import apsw

    refused: list[str] = []

    def authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
        what = _refused_action(action, first, second)
        if what is None:
            return apsw.SQLITE_OK
        refused.append(what)
        return apsw.SQLITE_DENY

    deadline = time.monotonic() + timeout_s
    statements: list[str] = []

    def begin(_cursor: apsw.Cursor, statement: str, _bindings: object) -> bool:
        statements.append(statement)
        return len(statements) == 1

    db.limit(apsw.SQLITE_LIMIT_LENGTH, _MAX_VALUE_BYTES)
    db.pragma("query_only", True)
    db.set_authorizer(authorize)
    db.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS_PER_CHECK)
    cursor = db.cursor()
    cursor.exec_trace = begin
    try:
        cursor.execute(sql, parameters)
        names = _names(cursor)
        rows: list[dict[str, Any]] = []
        size_bytes = 0
        for row in cursor:
            size_bytes += sum(len(value) for value in row if isinstance(value, str | bytes))
            if size_bytes > _MAX_RESULT_BYTES:
                raise UsageError(
                    f"cannot query: the result is larger than {size(_MAX_RESULT_BYTES)}. Select fewer columns or rows, "
                    "or length(column)."
                )
            if len(rows) == limit:
                raise UsageError(
                    f"cannot query: there are more than {limit:,} rows. Add LIMIT or WHERE to the SQL, or ask for more "
                    "with limit."
                )
            rows.append(dict(zip(names, row, strict=True)))
    except apsw.InterruptError as exc:
        raise UsageError(
            f"cannot query: it took more than {timeout_s:g} s. Narrow it with WHERE, or allow more with timeout_s."
        ) from exc
    except apsw.ExecTraceAbort as exc:
        raise UsageError("cannot query: it is more than one statement. Ask one after the other.") from exc
    except (apsw.AuthError, apsw.ReadOnlyError) as exc:
        what = f"{refused[0]} is not allowed" if refused else "it would write"
        raise UsageError(f"cannot query: {what}, because a query only reads. Use SELECT.") from exc
    except (apsw.SQLError, apsw.BindingsError, apsw.MismatchError, apsw.TooBigError, TypeError) as exc:
        hint = " loom-runner query 'SELECT name, sql FROM sqlite_schema' shows the tables."
        raise UsageError(f"cannot query: {exc}.{hint if str(exc).startswith('no such') else ''}") from exc
    return rows


def _names(cursor: apsw.Cursor) -> list[str]:
    import apsw

    try:
        names = [name for name, *_ in cursor.get_description()]
    except apsw.ExecutionCompleteError:  # no rows
        return []
    twice = [name for number, name in enumerate(names) if name in names[:number]]
    if twice:
        raise UsageError(f"cannot query: two columns are named {twice[0]!r}. Name one of them otherwise with AS.")
    return names


def _refused_action(action: int, first: str | None, second: str | None) -> str | None:
    """Return what a statement may not do; None if it may."""
    import apsw

    if action in (apsw.SQLITE_SELECT, apsw.SQLITE_READ, apsw.SQLITE_RECURSIVE):
        return None
    if action == apsw.SQLITE_FUNCTION:
        return f"the function {second}" if (second or "").lower() in _FORBIDDEN_FUNCTIONS else None
    if action == apsw.SQLITE_PRAGMA:
        is_read = first in _PRAGMAS and (second is None or first not in ("user_version", "page_size", "page_count"))
        return None if is_read else f"PRAGMA {first}"
    name = str(apsw.mapping_authorizer_function[action]).removeprefix("SQLITE_").replace("_", " ")
    return f"{name} {first}" if first else name
