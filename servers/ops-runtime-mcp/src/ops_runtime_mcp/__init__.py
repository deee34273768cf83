"""Runbook steps and health checks over MCP.

This version only holds the place: nothing is offered yet. The README says what is coming.
"""

__all__: list[str] = []
