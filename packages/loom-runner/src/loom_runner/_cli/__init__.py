"""The loom-runner command, one file per group of commands."""
