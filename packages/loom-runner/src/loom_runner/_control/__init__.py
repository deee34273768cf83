"""Requests to runs from outside: signal, pause, cancel, fork, decide, resolve."""
