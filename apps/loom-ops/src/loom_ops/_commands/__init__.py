"""Allow rules for commands, their secrets, and their processes."""
