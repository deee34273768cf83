"""Shared by the readers, for damaged files: the text for a lost value."""

from typing import Final

LOST: Final = "<lost: its record is damaged>"
