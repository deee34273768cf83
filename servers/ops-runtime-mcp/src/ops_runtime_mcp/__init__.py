"""Runbook steps and health checks over MCP."""

__all__: list[str] = []
