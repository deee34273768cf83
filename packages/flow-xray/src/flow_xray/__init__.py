"""Local execution traces: model calls, tool calls, errors, tokens and cost in one offline HTML file."""

__all__: list[str] = []
