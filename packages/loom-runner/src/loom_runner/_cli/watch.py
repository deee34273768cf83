"""`watch`: follow a run while a process drives it."""

from __future__ import annotations

import os
import shlex
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from loom_runner._cli.base import Amount, Count, ExitCode, exit_code_of_status
from loom_runner._cli.options import db_suffix, json_text, open_run_database, parse_run, query_options, resume_hint
from loom_runner._cli.output import (
    Output,
    choose_output,
    shown,
    styled,
    styled_status,
    terminal_width,
    unstyled,
    write_error,
    write_json,
    write_line,
)
from loom_runner._model.formatting import duration, plural

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loom_runner._model.records import RunRecord
    from loom_runner._queries.watch import Watcher

__all__ = ["watch"]

_SHOWN_STEPS = 8


@click.command()
@query_options
@click.option(
    "--every",
    "every_s",
    metavar="SECONDS",
    type=Amount(min=0.05, max=3600),
    default=0.5,
    show_default=True,
    help="Seconds between two polls.",
)
@click.option("--last", type=Count(min=0), default=_SHOWN_STEPS, show_default=True, help="Begin this many steps back.")
@click.option("--stay", is_flag=True, help="Continue while the run waits or is paused, until it has ended.")
def watch(
    *, names: tuple[str, ...], run_id: str | None, db: str, output: Output | None, every_s: float, last: int, stay: bool
) -> int:
    """Follow a run live, until no process drives it.

    A terminal is updated in place; a pipe gets a line of JSON for each step, attempt, tool call and
    change of status.
    """
    from loom_runner._model.statuses import TERMINAL
    from loom_runner._queries.watch import Watcher

    name = parse_run(names, run_id, "watch").run_id
    mode = "jsonl" if choose_output(output) != "text" else "text"
    redraws = mode == "text" and sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    with open_run_database(db, name, "watch") as store:
        record = store.reader.get_run(name)
        watcher = Watcher(store.reader, name, max(0, (record.step_index if record else 0) - last))
        screen = _Screen() if redraws else None
        while True:
            changes = watcher.changes()
            run = watcher.run
            if run is None:  # `changes` has read it
                continue
            if screen is not None:
                screen.draw(watcher, changes)
            else:
                for row in changes:
                    write_json(row, "jsonl") if mode == "jsonl" else write_line(_line(row, terminal_width()))
            has_ended = run.status in TERMINAL or run.status in ("failed", "parked")
            if has_ended or (watcher.is_idle and not stay):
                break
            time.sleep(every_s)
        hint = resume_hint(store, name, db)
    if watcher.is_abandoned:
        write_error(f"its process disappeared, and no other has taken over. resume: {hint}")
        return ExitCode.INTERRUPTED
    write_error(f"explain: loom-runner explain {shlex.quote(name)}{db_suffix(db)}")
    return exit_code_of_status(run.status, run.error.category if run.error else None)


def _line(row: Mapping[str, Any], width: int) -> str:
    """Format a change as one line."""
    match row["kind"]:
        case "step":
            took = duration(row["duration_ms"] * 1000)
            state = "" if row["state"] is None else json_text(row["state"])
            text = f"step {row['step_index']}  {row['outcome']}  {took}  {state}"
        case "attempt":
            error = row["error"] or {}
            text = f"step {row['step_index']}  {row['outcome']}  {error.get('type')}: {error.get('message')}"
        case "tool_call":
            took = "" if row["duration_ms"] is None else f"  {duration(row['duration_ms'] * 1000)}"
            text = f"  {row['name']}  {row['status']}{took}  {json_text(row['arguments'])}"
        case _:
            return f"{row['run_id']}  {styled_status(row['status'])}  {plural(row['step_index'], 'step')}"
    return _cut(text, width)


def _cut(text: str, width: int) -> str:
    from flow_xray.terminal import visible_line

    text = visible_line(text.replace("\n", " ")).rstrip()
    return text if len(text) <= width else f"{text[: width - 3]}..."


class _Screen:
    """The last lines of a terminal, redrawn at every poll."""

    def __init__(self) -> None:
        self._height = 0
        self._lines: list[str] = []
        self._began = time.monotonic()
        self._first: int | None = None

    def draw(self, watcher: Watcher, changes: list[dict[str, Any]]) -> None:
        """Show the current status of the run."""
        run = watcher.run
        if run is None:
            return
        width = terminal_width() - 2
        self._lines = [*self._lines, *(_line(row, width) for row in changes if row["kind"] in ("step", "attempt"))][
            -_SHOWN_STEPS:
        ]
        lines = [self._head(run), *(f"  {line}" for line in self._lines)]
        for call in watcher.in_flight:
            for_us = time.time_ns() // 1000 - call.started_at
            lines.append(f"  {_cut(f'{call.name}  {duration(for_us)}  {call.arguments}', width)}")
        if click.get_current_context().color is False:
            lines = [unstyled(line) for line in lines]
        up = f"\033[{self._height}A" if self._height else ""
        sys.stdout.write(up + "".join(f"\033[K{shown(line)}\n" for line in lines) + "\033[J")
        sys.stdout.flush()
        self._height = len(lines)

    def _head(self, run: RunRecord) -> str:
        from loom_runner._queries.liveness import interruption, shown_status

        self._first = run.step_index if self._first is None else self._first
        spent_s = time.monotonic() - self._began
        pace = f"  {(run.step_index - self._first) / spent_s:,.1f} steps/s" if spent_s > 1 else ""
        who = f"  process {run.owner.pid}" if run.owner and run.is_leased else ""
        if (why := interruption(run)) is not None:
            who = f"  {why}"
        head = f"{styled(run.run_id, bold=True)}  {styled_status(shown_status(run))}"
        return f"{head}  step {run.step_index:,}{pace}{who}"
