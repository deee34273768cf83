"""Readers: the journal, the trace file, OTLP, Chrome events, and a file of any of these formats."""
