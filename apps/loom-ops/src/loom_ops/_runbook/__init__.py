"""A runbook: read from Markdown, checked, its inputs filled in, found by name."""
