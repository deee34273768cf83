"""Git tools: status, diff and commit."""
