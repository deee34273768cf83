"""Checks: measure something, compare it with what is expected."""
