"""Comparing two traces: alignment, differences, the page of a difference, golden traces."""
