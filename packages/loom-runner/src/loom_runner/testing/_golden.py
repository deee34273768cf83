"""Golden runs: the reproducible facts of a run, compared with a reviewed copy.

A golden copy has two parts. The *story*: status, result, error, every step with its checkpoint,
every tool call with arguments and result, every failed attempt. And the *trace* of the run, for the
page that shows differences. Neither contains times, process ids, fences or code lines, so the same
behaviour yields the same file on every machine.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from loom_runner._engines.runner import AgentRunner
from loom_runner._model.formatting import plural, shorten
from loom_runner._queries.views import each_step
from loom_runner._store.in_doubt import read_tool_calls
from loom_runner._store.lookup import read_run
from loom_runner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from loom_runner._model.records import ErrorInfo
    from loom_runner._model.results import RunResult
    from loom_runner._model.waits import WaitFor
    from loom_runner._store.protocol import Store

__all__ = ["GOLDEN_FORMAT", "LoomGolden", "comparable_run", "differences"]

GOLDEN_FORMAT: Final = 1
_SHOWN_DIFFERENCES: Final = 20
_MAX_RESUMES: Final = 100


def comparable_run(store: Store, run_id: str) -> dict[str, Any]:
    """Return the reproducible facts of a run as JSON: no times, process ids, fences or code lines.

    Raises:
        UnknownRun: There is no such run.
    """
    run = read_run(store.reader, run_id, "compare")
    return {
        "status": run.status,
        "result": None if run.result is None else json.loads(run.result),
        "error": _error(run.error),
        "waits_for": _wait(run.wait) if run.status == "waiting" else None,
        "input": json.loads(run.input),
        "steps": [
            {
                "step": step.step_index,
                "outcome": step.outcome,
                "attempts": step.attempts,
                "wait": _wait(step.wait),
                "state": None if step.state is None else json.loads(step.state),
            }
            for step in each_step(store.reader, run_id)
        ],
        "tool_calls": sorted(
            (
                {
                    "step": call.step_index,
                    "key": call.key,
                    "tool": call.name,
                    "status": call.status,
                    "tries": call.tries,
                    "arguments": json.loads(call.arguments),
                    "result": None if call.result is None else json.loads(call.result),
                    "error": _error(call.error),
                }
                for call in read_tool_calls(store.reader, run_id)
            ),
            key=lambda call: (call["step"], call["key"]),  # concurrent calls start in any order
        ),
        "failed_attempts": [
            {"step": row.step_index, "attempt": row.attempt, "kind": row.kind, "error": _error(row.error)}
            for row in store.reader.attempts(run_id)
        ],
    }


def _error(error: ErrorInfo | None) -> dict[str, str] | None:
    if error is None:
        return None
    message = "a process disappeared" if error.type == "Interrupted" else error.message
    return {"type": error.type, "category": error.category, "message": message}


def _wait(wait: WaitFor | None) -> dict[str, Any] | None:
    return None if wait is None else {name: value for name, value in wait.as_json().items() if name != "until"}


def differences(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """Yield one line for each place in which two JSON values differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before | after:
            yield from differences(
                before.get(key, _MISSING), after.get(key, _MISSING), f"{path}.{key}" if path else key
            )
    elif isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            old = before[index] if index < len(before) else _MISSING
            new = after[index] if index < len(after) else _MISSING
            yield from differences(old, new, f"{path}[{index}]")
    elif type(before) is not type(after) or before != after:
        yield f"{path}: {_shown(before)} -> {_shown(after)}"


_MISSING: Final = object()


def _shown(value: Any) -> str:
    return "nothing" if value is _MISSING else shorten(json.dumps(value, ensure_ascii=False), 70)


class LoomGolden:
    """Drive a run and compare it with its golden copy:
    `loom_golden(build_runner, initial_state=State())`.

    The copy is `goldens/<name>.run.json` beside the test file; the default name is that of the
    test. If the run differs, the test fails with the differences, and
    `goldens/<name>.run.diff.html` shows both runs.
    """

    def __init__(
        self, *, folder: Path, default_name: str, is_update: bool, note: Callable[[str], None] = lambda _: None
    ) -> None:
        self._folder = folder
        self._default_name = re.sub(r"[^\w.-]+", "-", default_name).strip("-")
        self._is_update = is_update
        self._note = note

    def __call__(
        self,
        program: Callable[[str], AgentRunner] | AgentRunner,
        name: str | None = None,
        *,
        initial_state: Any = None,
        signals: Mapping[str, Any] | None = None,
        decide: Literal["approve", "deny"] | None = None,
        ignore: Collection[str] = (),
    ) -> RunResult:
        """Drive a run to its end, or to a wait that the arguments do not answer, and compare it.

        Args:
            program: A function of a database's path, such as a module's `build_runner`; or a
                runner.
            name: The name of the golden copy, and the run id.
            initial_state: The initial state of the run.
            signals: The payload to send when the run waits for a signal, by the signal's name.
            decide: The decision about every approval request.
            ignore: Keys of the story that may differ, at any depth (`"price"`).

        Returns:
            The result of the run.

        Raises:
            AssertionError: The run differs from its golden copy, or there is none.
        """
        run_id = name or self._default_name
        with tempfile.TemporaryDirectory() as folder:
            runner = program if isinstance(program, AgentRunner) else program(str(Path(folder) / "runs.sqlite"))
            try:
                result = asyncio.run(_driven(runner, run_id, initial_state, signals or {}, decide))
                self.check(runner.store, run_id, name, ignore=ignore)
            finally:
                if not isinstance(program, AgentRunner):
                    runner.close()
        return result

    def check(self, store: Store, run_id: str, name: str | None = None, *, ignore: Collection[str] = ()) -> None:
        """Compare a run that was driven before; arguments and errors are those of a call."""
        from loom_runner._queries.tracing import golden_trace, write_diff

        path = self._folder / f"{name or self._default_name}.run.json"
        story, trace = comparable_run(store, run_id), golden_trace(store.reader, run_id)
        page = path.with_suffix(".diff.html")
        if path.exists():
            golden = _read(path)
            found = list(differences(_without(golden["story"], ignore), _without(story, ignore)))
            if not found:
                page.unlink(missing_ok=True)
                return
            if not self._is_update:
                write_diff(json.dumps(golden["trace"]), trace, page)
                lines = [f"{run_id} differs from its golden run: {plural(len(found), 'difference')} (golden -> now)"]
                lines += [f"  {line}" for line in found[:_SHOWN_DIFFERENCES]]
                if len(found) > _SHOWN_DIFFERENCES:
                    lines.append(f"  ... and {len(found) - _SHOWN_DIFFERENCES} more")
                raise AssertionError("\n".join([*lines, f"page: {page}", "accept: pytest --update-goldens"]))
        elif not self._is_update:
            raise AssertionError(
                f"there is no golden run {path}. Write it with pytest --update-goldens, and review it."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"format": GOLDEN_FORMAT, "story": story, "trace": json.loads(trace)}
        path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", "utf-8")
        page.unlink(missing_ok=True)
        self._note(f"written: {path}")


async def _driven(
    runner: AgentRunner,
    run_id: str,
    initial: Any,
    signals: Mapping[str, Any],
    decide: Literal["approve", "deny"] | None,
) -> RunResult:
    """Start the run, and send signals and decisions while it waits for them."""
    result = await runner.start(run_id=run_id, initial_state=initial)
    for _ in range(_MAX_RESUMES):
        wait = result.wait or {}
        if result.status == "waiting" and wait.get("signal") in signals:
            await runner.signal(run_id=run_id, name=wait["signal"], payload=signals[wait["signal"]])
        elif result.status == "waiting" and wait.get("approvals") and decide is not None:
            for request in runner.approvals(run_id, pending_only=True):
                await runner.decide(run_id=run_id, number=request["number"], how=decide, by="loom_golden")
        else:
            return result
        result = await runner.resume(run_id=run_id)
    raise AssertionError(f"{run_id} was answered {_MAX_RESUMES} times and waits again")


def _without(value: Any, ignore: Collection[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(one, ignore) for key, one in value.items() if key not in ignore}
    return [_without(one, ignore) for one in value] if isinstance(value, list) else value


def _read(path: Path) -> dict[str, Any]:
    try:
        golden: dict[str, Any] = json.loads(path.read_text("utf-8"))
        is_ours = golden["format"] == GOLDEN_FORMAT and "story" in golden and "trace" in golden
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise UsageError(
            f"cannot read the golden run {path}: {exc}. Write it again with pytest --update-goldens."
        ) from exc
    if not is_ours:
        raise UsageError(f"cannot read the golden run {path}: its format is {golden['format']!r}. Write it again.")
    return golden
