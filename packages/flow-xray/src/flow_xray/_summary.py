"""What a command says about a trace in one line: how it ended, what it holds, how long it took, what it cost."""

from flow_xray._model import Json
from flow_xray._result import TraceResult


def summary_of(result: TraceResult) -> dict[str, Json]:
    """Return the facts that are printed: name, status, counts, tokens, cost, time."""
    from flow_xray._diff import totals_of

    spans = result.spans
    totals = totals_of(result)
    own = result.meta.get("status")
    calls = [span for span in spans if span.kind == "llm"]
    has_cost = any("cost_usd" in span.meta for span in spans)
    return {
        "name": result.name,
        "status": own if isinstance(own, str) else result.status,
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
    """Return the facts as one line for a person."""
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


def human_cost(usd: float) -> str:
    """Return a cost as a person reads it: <$0.0001, $0.0075, $4.01; what cost something is never $0."""
    if 0 < usd < 0.00005:
        return "<$0.0001"
    return f"${usd:.4f}" if usd < 1 else f"${usd:,.2f}"


def human_duration(milliseconds: float) -> str:
    """Return a duration as a person reads it: 4 ms, 1.84 s, 4 m 12 s, 2 h 10 m."""
    if milliseconds < 1:
        return f"{milliseconds * 1000:.0f} µs"
    if milliseconds < 1_000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} m {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} m"


def notes_of(result: TraceResult) -> list[Json]:
    """Return what a reader of the trace should know: what of the files could not be read."""
    notes = result.meta.get("notes")
    found: list[Json] = list(notes) if isinstance(notes, list) else []
    journal = result.meta.get("journal")
    if not isinstance(journal, dict):
        return found
    if journal.get("is_complete") is False and not any(span.status == "interrupted" for span in result.spans):
        found.append("the journal has no end: its process was killed, or still runs")
    damaged = journal.get("damaged_records")
    if damaged:
        found.append(f"{damaged} {'record was' if damaged == 1 else 'records were'} damaged and left out")
    return found
