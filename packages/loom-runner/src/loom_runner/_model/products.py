"""The products whose runs may be in a database, and the commands that resume them."""

from __future__ import annotations

import shlex
from typing import Final

from loom_runner.run_ids import root_run_id

__all__ = ["product_of", "resume_with_product"]

_PRODUCTS: Final = ("loom-run", "loom-ops")


def product_of(program: str) -> str | None:
    """Return the command of the product whose agent this is, `loom-ops` for `loom-ops/executor`;
    None for an agent that a user has written.

    A product builds its agents itself and is the only one that can, so its runs record no module.
    """
    product, slash, _ = program.partition("/")
    return product if slash and product in _PRODUCTS else None


def resume_with_product(product: str, run_id: str, database: str) -> str:
    """Return the command of a product that resumes a run. A child run is resumed with its root."""
    return f"{product} resume --run-id {shlex.quote(root_run_id(run_id))} --db {shlex.quote(database)}"
