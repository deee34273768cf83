"""Tests, lint and repository reads over MCP.

This version only holds the place: nothing is offered yet. The README says what is coming.
"""

__all__: list[str] = []
