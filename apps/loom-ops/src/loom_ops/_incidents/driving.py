"""The steps of every interface that drives a run: build its program, serve its drill, notify."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from loom_runner import Runs
from loom_runner.cli_base import local_user, write_error

from loom_ops._audit.config import record_config
from loom_ops._audit.facts import update_audit_trail
from loom_ops._drill import Drill
from loom_ops._notify.notifications import notify
from loom_ops._run_ids import is_rollback
from loom_ops._runs import EXECUTOR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loom_runner import AgentRunner, SQLiteStore

    from loom_ops._site import Site
    from loom_ops._team.states import RunRequest
    from loom_ops._team.team import Team

__all__ = ["record_and_notify", "record_settings", "runner_of", "serve_drill"]


def runner_of(team: Team, run_id: str) -> AgentRunner:
    """Build the runner that resumes a run: that of its team; for a rollback and for a step that is
    run alone, that of the executor.
    """
    record = team.store.reader.get_run(run_id)
    is_executor = is_rollback(run_id) or (record is not None and record.program == EXECUTOR)
    return team.executor() if is_executor else team.supervisor()


@contextmanager
def serve_drill(request: RunRequest, report: Callable[[str], None] = write_error) -> Iterator[None]:
    """Serve the drill of a request, if it has one, until the block ends.

    Args:
        report: Called with a line that describes the drill.
    """
    if request.drill is None:
        yield
        return
    with Drill(Path(request.drill)).serving() as url:
        report(f"This is a drill: {url} is a small service of this command, slow since its last release.")
        yield


def record_settings(run_id: str, database: Path, site: Site) -> None:
    """Record which settings a run is driven with, if they are not those that were recorded last."""
    record_config(database, site, run_id=run_id, actor=local_user())


def record_and_notify(store: SQLiteStore, run_id: str, database: Path, site: Site) -> None:
    """Bring the audit trail up to date, then notify the site's people."""
    runs = Runs(store)
    notify(site, database, runs, run_id, str(update_audit_trail(runs, run_id, database)))
