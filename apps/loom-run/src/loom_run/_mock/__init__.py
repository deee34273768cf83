"""The offline model for `--mock-llm`: it searches and quotes, alone or as a team."""
