"""Freezing values into bounded JSON, with secrets masked before anything is stored."""
