"""OpenTelemetry attribute names, and the conversion of its attributes and messages."""
