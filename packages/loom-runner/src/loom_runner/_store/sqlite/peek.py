"""What a file says about itself, read before it is opened for writing: this changes nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass

from loom_runner._store.address import absolute_path
from loom_runner._store.origin import Origin, read_origin
from loom_runner._store.sqlite.foreign_objects import check_objects
from loom_runner._store.sqlite.locks import WAIT_FOR_WRITERS_S
from loom_runner._store.sqlite.named_errors import named_errors
from loom_runner._store.sqlite.read_only import connect_to_read

__all__ = ["Peek", "peek"]

_TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name IN ('about', 'runs')"
_PRODUCT_RUN = "SELECT 1 FROM runs WHERE program GLOB 'loom-run/*' OR program GLOB 'loom-ops/*' LIMIT 1"


@dataclass(frozen=True, slots=True)
class Peek:
    """The origin of a database, and whether it has runs of a product."""

    origin: Origin
    has_product_runs: bool


def peek(path: str) -> Peek | None:
    """Return what a database says about itself; None for a file without tables.

    Raises:
        StoreError: It cannot be read, or holds what is not of loom.
    """
    real = os.path.realpath(absolute_path(path))
    with named_errors(path):
        db = connect_to_read(real, int(WAIT_FOR_WRITERS_S * 1000))
        try:
            db.execute("BEGIN")
            tables = {name for (name,) in db.execute(_TABLES)}
            if not tables:
                return None
            check_objects(db, path)
            origin = read_origin(db) if "about" in tables else Origin("", None)
            return Peek(origin, "runs" in tables and bool(db.execute(_PRODUCT_RUN).get))
        finally:
            db.close()
