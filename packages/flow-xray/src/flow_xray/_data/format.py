"""Format numbers and texts for people."""


def human_cost(usd: float) -> str:
    """Return a cost in short: <$0.0001, $0.0075, $4.01. A cost above 0 is never shown as $0."""
    if 0 < usd < 0.00005:
        return "<$0.0001"
    return f"${usd:.4f}" if usd < 1 else f"${usd:,.2f}"


def human_duration(milliseconds: float) -> str:
    """Return a duration in short: 4 ms, 1.84 s, 4 m 12 s, 2 h 10 m."""
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
