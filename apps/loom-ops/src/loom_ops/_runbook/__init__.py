"""Runbooks: parse Markdown, lint, fill in the inputs, find one by name."""
