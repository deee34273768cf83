"""The offline model behind `--mock-llm`: it searches and quotes, alone or as a team."""
