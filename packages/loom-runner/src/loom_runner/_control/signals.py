"""Send a signal to a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loom_runner._model.arguments import check_type
from loom_runner._model.clock import Clock, SystemClock
from loom_runner._program.plain_json import to_plain_json
from loom_runner._store.lookup import find_run
from loom_runner.errors import UsageError

if TYPE_CHECKING:
    from loom_runner._store.protocol import Store

__all__ = ["send_signal"]


async def send_signal(store: Store, run_id: str, name: str, payload: Any, clock: Clock | None = None) -> None:
    """Send a signal to a run that has not ended.

    Raises:
        UnknownRun: There is no such run.
        UsageError: The run has ended, or the name is not valid.
    """
    record = await find_run(store, run_id, "signal")
    if record.status in ("completed", "cancelled"):
        raise UsageError(f"cannot signal {run_id!r}: it is {record.status}, which takes no signals.", run_id=run_id)
    check_type(f"signal {run_id!r}", "name", name, str, "a string")
    if not name or not name.isprintable():
        raise UsageError(f"cannot signal {run_id!r}: {name!r} is not a name.", run_id=run_id)
    text = to_plain_json(payload, f"the payload of signal {name!r}")
    await store.send_signal(run_id, name, text, (clock or SystemClock()).now_us())
