"""The MCP servers, driven by the official TypeScript client over stdio and HTTP:
`make mcp-clients`.
"""
