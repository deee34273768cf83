"""Run a command in a process group that cannot outlive the caller."""
