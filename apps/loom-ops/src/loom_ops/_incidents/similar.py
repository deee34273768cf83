"""Earlier incidents that resemble a text: facts in the memory, and runs of loom-ops."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from loom_agents.search import rank_texts
from loom_runner import Runs
from loom_runner.run_ids import is_child

from loom_ops._clock import now_iso
from loom_ops._incidents.results import SimilarIncident
from loom_ops._memory import open_memory
from loom_ops._runs import is_run_of_loom_ops
from loom_ops._team.outcomes import current_outcome

if TYPE_CHECKING:
    from pathlib import Path

    from loom_runner import SQLiteStore

__all__ = ["similar_incidents"]

MAX_RUNS: Final = 1_000


def similar_incidents(store: SQLiteStore, database: Path, text: str, *, limit: int) -> list[SimilarIncident]:
    """Return the facts and the runs that have any of the words, the best facts first.

    Args:
        store: The database, open for reading.
        limit: The largest number of facts, and of runs of which no fact is listed.
    """
    with closing(open_memory(database, read_only=True)) as memory:
        facts = memory.search(text, now_iso(), limit=limit)
    found = [SimilarIncident("memory", fact.source_run, fact.text, fact.scope, "", fact.learned_at) for fact in facts]
    known = {each.run_id for each in found}
    runs = [
        run
        for run in Runs(store).list(limit=MAX_RUNS)
        if is_run_of_loom_ops(run) and not is_child(run["run_id"]) and run["run_id"] not in known
    ]
    best = rank_texts(text, [_words(run) for run in runs], limit)
    return found + [_of_run(runs[index]) for index in best]


def _request(run: dict[str, Any]) -> dict[str, Any]:
    request = run["input"].get("request") if isinstance(run["input"], dict) else None
    return request if isinstance(request, dict) else {}


def _result(run: dict[str, Any]) -> dict[str, Any]:
    return run["result"] if isinstance(run["result"], dict) else {}


def _words(run: dict[str, Any]) -> str:
    return f"{_request(run).get('incident', '')} {_result(run).get('why', '')}"


def _of_run(run: dict[str, Any]) -> SimilarIncident:
    request, result = _request(run), _result(run)
    outcome = current_outcome(str(result["outcome"])) if result.get("outcome") else ""
    text = ": ".join(filter(None, (str(request.get("incident", "")), str(result.get("why", "")))))
    return SimilarIncident("run", run["run_id"], text, str(request.get("source", "")), outcome, run["updated_at"])
