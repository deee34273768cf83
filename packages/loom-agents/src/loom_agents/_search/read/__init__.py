"""Readers: a file of each kind becomes chunks of text, each with its heading and line."""
