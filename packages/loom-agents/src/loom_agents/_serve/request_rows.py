"""A request for approval, as clients get it."""

from collections.abc import Mapping
from typing import Any

from loom_runner.run_ids import ancestor_run_ids, child_name

from loom_agents._tools.argument_difference import argument_difference, edit_notes

__all__ = ["request_row", "shown_hash"]


def request_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Add to a request what a client needs: the name of its run and the ids of the runs above that,
    what an edit has changed, and as `arguments_hash` the hash that the client sends back with a
    decision about exactly what it has shown.
    """
    edited = row["edited_arguments"]
    return {
        **row,
        "name": child_name(row["run_id"]),
        "ancestors": ancestor_run_ids(row["run_id"]),
        "arguments_hash": shown_hash(row),
        "difference": [] if edited is None else argument_difference(row["arguments"], edited),
        "edit_notes": edit_notes(row),
    }


def shown_hash(row: Mapping[str, Any]) -> str:
    """Return the hash of what a person who decides is shown; every edit changes it."""
    return str(row["final_hash"])
