"""The summary of a trace that commands print: status, counts, tokens, cost, duration."""

from flow_xray._data.format import human_cost, human_duration
from flow_xray._data.span import Json
from flow_xray._data.totals import totals_of
from flow_xray._data.trace_data import TraceData


def summary_of(trace: TraceData) -> dict[str, Json]:
    """Return name, status, counts, tokens, cost and duration of a trace."""
    spans = trace.spans
    totals = totals_of(trace)
    own = trace.meta.get("status")
    calls = [span for span in spans if span.kind == "llm"]
    has_cost = any("cost_usd" in span.meta for span in spans)
    return {
        "name": trace.name,
        "status": own if isinstance(own, str) else trace.status,
        "spans": totals.calls,
        "model_calls": len(calls),
        "errors": totals.errors,
        "interrupted": sum(span.status == "interrupted" for span in spans),
        "duration_ms": round(totals.duration_ms, 3),
        "tokens": totals.tokens,
        "cost_usd": round(totals.cost_usd, 9) if has_cost else None,
        "unpriced_calls": sum("cost_usd" not in span.meta and "input_tokens" in span.meta for span in calls),
    }


def summary_line(facts: dict[str, Json]) -> str:
    """Return a summary as one line of text."""
    parts = [f"{facts['spans']:,} {'span' if facts['spans'] == 1 else 'spans'}"]
    for key, one, many in (
        ("model_calls", "model call", "model calls"),
        ("tokens", "token", "tokens"),
        ("errors", "error", "errors"),
        ("interrupted", "interrupted", "interrupted"),
    ):
        if facts[key]:
            parts.append(f"{facts[key]:,} {one if facts[key] == 1 else many}")
    cost, unpriced = facts["cost_usd"], facts["unpriced_calls"]
    if isinstance(cost, int | float):
        parts.append(human_cost(cost) + (f" and {unpriced} unpriced" if unpriced else ""))
    milliseconds = facts["duration_ms"]
    assert isinstance(milliseconds, int | float)
    return f"{facts['name']}  {facts['status']}  {', '.join(parts)}, {human_duration(milliseconds)}"


def notes_of(trace: TraceData) -> list[Json]:
    """Return notes about what could not be read in the files of the trace."""
    notes = trace.meta.get("notes")
    found: list[Json] = list(notes) if isinstance(notes, list) else []
    journal = trace.meta.get("journal")
    if not isinstance(journal, dict):
        return found
    if journal.get("is_complete") is False and not any(span.status == "interrupted" for span in trace.spans):
        found.append("the journal has no end: its process was killed, or is still running")
    damaged = journal.get("damaged_records")
    if damaged:
        found.append(f"{damaged} {'record was' if damaged == 1 else 'records were'} damaged and left out")
    return found
