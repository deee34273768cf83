"""Chats over HTTP, as a product of `loom_agents.serve`."""
