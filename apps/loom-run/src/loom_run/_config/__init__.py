"""What a run is set up with: settings, agents, prompts, MCP servers, and trust in project files."""
