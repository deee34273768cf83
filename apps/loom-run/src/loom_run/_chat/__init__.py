"""One conversation: start and continue it, read its status, approve, fork and undo."""
