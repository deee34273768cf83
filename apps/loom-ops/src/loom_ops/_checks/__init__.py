"""Checks: measure a value and compare it with the expected one."""
