"""The setup of a run: settings, agents, prompts, MCP servers, and trust in project files."""
