"""Describe an entry of the event log to a client, with the present content of its row."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from loom_runner import Runs
from loom_runner.store import LoggedEvent

__all__ = ["EventViews"]

_MAX_CHARACTERS: Final = 4000
"""Longer arguments and results are truncated; the page of the run has all of them."""


class EventViews:
    """Describe events with the rows that they refer to."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    def status(self, run_id: str) -> str | None:
        """Return the present status of a run; None if it was deleted."""
        run = self._runs.find(run_id)
        return None if run is None else str(run["status"])

    def of(self, events: Sequence[LoggedEvent]) -> list[dict[str, Any]]:
        """Describe events, in order. An event whose row is gone has no details."""
        calls: dict[str, dict[int | None, Mapping[str, Any]]] = {}
        approvals: dict[str, dict[int | None, Mapping[str, Any]]] = {}
        for run_id in {event.run_id for event in events if event.kind == "tool"}:
            calls[run_id] = {_number(row["id"]): row for row in self._runs.tool_calls(run_id)}
        for run_id in {event.run_id for event in events if event.kind == "approval"}:
            approvals[run_id] = {row["number"]: row for row in self._runs.approvals(run_id)}
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
    names = ("step_index", "name", "tries", "error", "started_at", "duration_ms", "decided_by")
    return {name: row[name] for name in names} | {
        "arguments": _shortened(row["arguments"]),
        "result": _shortened(row["result"]),
        "status_now": row["status"],
    }


def _request(row: Mapping[str, Any] | None) -> dict[str, Any]:
    if row is None:
        return {}
    names = ("step_index", "tool", "arguments", "edited_arguments", "reason", "needed", "expires_at", "decisions")
    return {name: row[name] for name in names} | {"status_now": row["status"]}


def _shortened(value: Any) -> Any:
    """Return the value, or the beginning of its JSON text when that is long."""
    text = json.dumps(value, ensure_ascii=False)
    if len(text) <= _MAX_CHARACTERS:
        return value
    return {"truncated": True, "text": text[:_MAX_CHARACTERS], "total_characters": len(text)}


def _number(call_id: str) -> int:
    return int(call_id.rpartition("#")[2])
