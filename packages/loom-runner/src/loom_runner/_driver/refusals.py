"""Errors of runs that a driver may not resume."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loom_runner._driver.new_runs import alias_for
from loom_runner._model.products import product_of, resume_with_product
from loom_runner.errors import RunBusy, UsageError

if TYPE_CHECKING:
    from loom_runner._driver.settings import Settings
    from loom_runner._model.records import RunRecord

__all__ = ["busy_run", "foreign_run"]


def foreign_run(settings: Settings, record: RunRecord) -> UsageError:
    """Return the error of a run of another program, which says how to resume it."""
    run_id, product = record.run_id, product_of(record.program)
    if product is not None:
        command = resume_with_product(product, run_id, settings.store.address)
        return UsageError(
            f"cannot resume {run_id!r}: it is a run of {product} ({record.program}). Resume it with: {command}",
            run_id=run_id,
        )
    at, ours, parent = record.module or record.code_at, settings.module(), record.parent_run_id
    theirs = f"program {record.program!r}" + (f", last driven from {at}" if at else "")
    this = f"{settings.agent.name!r}" + (f" of {ours}" if ours else "")
    own = "its own module" + (f", or its parent {parent!r}" if parent else "")
    return UsageError(
        f"cannot resume {run_id!r}: it is a run of {theirs}, and this is {this}. Resume it with {own}; if "
        f"the program was renamed, add the old name to its Agent or AgentRunner: aliases=({alias_for(record)!r},).",
        run_id=run_id,
    )


def busy_run(record: RunRecord) -> RunBusy:
    """Return the error of a run that a live process drives."""
    pid = record.owner.pid if record.owner else "unknown"
    return RunBusy(
        f"cannot resume {record.run_id!r}: process {pid} drives it (its lease lasts "
        f"{max(record.lease_left_s, 0):.0f} s more). Wait for it, or stop that process.",
        run_id=record.run_id,
        step_index=record.step_index,
    )
