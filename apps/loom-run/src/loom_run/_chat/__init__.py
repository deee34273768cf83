"""One conversation: start it, continue it, its status, its approvals, forks and undo."""
