"""Write an entry of the event log out: the row that it is about, as far as somebody who follows a run needs it."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from loom_runner import AgentRunner, LoggedEvent, SQLiteStore

__all__ = ["EventViews"]

_SHOWN: Final = 4000  # characters of arguments and results; the whole is in the run


class EventViews:
    """Read the rows of events."""

    def __init__(self, store: SQLiteStore, reader: AgentRunner) -> None:
        self._store = store
        self._reader = reader

    def status(self, run_id: str) -> str | None:
        """Give the status of a run as it is now."""
        record = self._store.get_run(run_id)
        return None if record is None else record.status

    def of(self, events: Sequence[LoggedEvent]) -> list[dict[str, Any]]:
        """Write events out, in their order. A row that is gone leaves an event without details."""
        calls: dict[str, dict[int | None, Mapping[str, Any]]] = {}
        approvals: dict[str, dict[int | None, Mapping[str, Any]]] = {}
        for run_id in {event.run_id for event in events if event.kind == "tool"}:
            calls[run_id] = {_number(row["id"]): row for row in self._reader.tool_calls(run_id)}
        for run_id in {event.run_id for event in events if event.kind == "approval"}:
            approvals[run_id] = {row["number"]: row for row in self._reader.approvals(run_id)}
        return [self._view(event, calls, approvals) for event in events]

    def _view(
        self,
        event: LoggedEvent,
        calls: Mapping[str, Mapping[int | None, Mapping[str, Any]]],
        approvals: Mapping[str, Mapping[int | None, Mapping[str, Any]]],
    ) -> dict[str, Any]:
        at = datetime.fromtimestamp(event.at_us / 1_000_000, UTC).isoformat(timespec="microseconds")
        head = {"seq": event.seq, "run_id": event.run_id, "kind": event.kind, "at": at}
        if event.kind == "tool":
            return head | {"number": event.ref, "status": event.word} | _call(calls[event.run_id].get(event.ref))
        if event.kind == "approval":
            return head | {"status": event.word, "number": event.ref} | _request(approvals[event.run_id].get(event.ref))
        if event.kind == "step":
            return head | {"step_index": event.ref, "outcome": event.word}
        if event.kind == "attempt":
            return head | {"step_index": event.ref, "status": event.word}
        return head | ({"status": event.word} if event.kind == "run" else {"name": event.word})


def _call(row: Mapping[str, Any] | None) -> dict[str, Any]:
    if row is None:
        return {}
    kept = ("step_index", "name", "tries", "error", "started_at", "duration_ms", "decided_by")
    return {name: row[name] for name in kept} | {
        "arguments": _short(row["arguments"]),
        "result": _short(row["result"]),
        "status_now": row["status"],
    }


def _request(row: Mapping[str, Any] | None) -> dict[str, Any]:
    if row is None:
        return {}
    kept = ("step_index", "tool", "arguments", "edited_arguments", "reason", "needed", "expires_at", "decisions")
    return {name: row[name] for name in kept} | {"status_now": row["status"]}


def _short(value: Any) -> Any:
    """Give the value, or the beginning of its text when it is long."""
    text = json.dumps(value, ensure_ascii=False)
    if len(text) <= _SHOWN:
        return value
    return {"truncated": True, "text": text[:_SHOWN], "total_characters": len(text)}


def _number(call_id: str) -> int:
    return int(call_id.rpartition("#")[2])
