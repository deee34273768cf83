"""Durable transitions on SQLite: checkpoint, resume and explain long-running Python agents."""

__all__: list[str] = []
