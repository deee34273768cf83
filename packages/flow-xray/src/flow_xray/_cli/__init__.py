"""The command line: one module for each command, `base` below them, `main` above."""
