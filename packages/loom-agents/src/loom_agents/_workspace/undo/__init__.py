"""The log of changes: each change is applied once and can be undone."""
