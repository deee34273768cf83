"""The W3C `traceparent`: which call of another process a session belongs to."""

from typing import Final

_HEX: Final = frozenset("0123456789abcdef")


def parse(text: str) -> tuple[str, str] | None:
    """Return trace id and span id of a traceparent, or None when the text is not a valid one."""
    parts = text.split("-")
    if len(parts) < 4 or [len(part) for part in parts[:3]] != [2, 32, 16] or parts[0] == "ff":
        return None
    is_hex = all(_HEX.issuperset(part) for part in parts[:3])
    is_valid = is_hex and set(parts[1]) != {"0"} and set(parts[2]) != {"0"}
    return (parts[1], parts[2]) if is_valid else None


def written(trace_id: str, span_id: str) -> str:
    """Return the traceparent of a call, with the sampled flag set."""
    return f"00-{trace_id}-{span_id}-01"
