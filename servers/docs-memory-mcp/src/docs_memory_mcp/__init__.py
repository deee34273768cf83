"""Documents and memories over MCP."""

__all__: list[str] = []
