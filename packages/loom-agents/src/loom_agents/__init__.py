"""The durable agent step: one model request, then its tool calls."""

__all__: list[str] = []
