"""Errors of flow_xray.

    FlowXrayError
    ├── TraceFormatError   a journal or trace file cannot be read (also a ValueError)
    │   └── TooLargeError  reading it would need too much memory
    └── TraceOutputError   a journal or trace file cannot be written (also an OSError)

A recording session raises none of them once it is open: the traced program continues, and one
warning describes what could not be recorded.
"""


class FlowXrayError(Exception):
    """Base of all errors of flow_xray."""


class TraceFormatError(FlowXrayError, ValueError):
    """A file is not a trace, is damaged beyond use, or was written by a newer flow-xray.

    A journal whose last record is truncated is *not* an error: everything before it is read.
    """


class TooLargeError(TraceFormatError):
    """A file that would need too much memory for its size; its intact part would, too."""


class TraceOutputError(FlowXrayError, OSError):
    """A trace file or a journal cannot be written to the given path."""
