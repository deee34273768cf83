"""Reading stored JSON that others may have written."""

from __future__ import annotations

import json
from typing import Any

from loom_runner.errors import StoreDamaged

__all__ = ["stored_json"]


def stored_json(text: str) -> Any:
    """Parse JSON from a row.

    Raises:
        StoreDamaged: It is no JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        why = "it is nested too deeply" if isinstance(exc, RecursionError) else f"it is no JSON: {exc}"
        raise StoreDamaged(f"cannot read a stored value: {why}. See loom-runner verify, or restore a copy.") from exc
