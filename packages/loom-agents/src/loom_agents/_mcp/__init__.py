"""MCP client: the configuration file, one connection for each server, and the servers' tools."""
