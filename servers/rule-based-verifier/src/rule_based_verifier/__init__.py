"""Tests, lint and repository reads over MCP."""

__all__: list[str] = []
