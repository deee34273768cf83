"""Check that what `loom-run` needs is there: one line for each thing, and what to do where
something is missing.
"""

import importlib.util
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from loom_agents import AgentError, ModelError, ProviderModel, Workspace
from loom_agents.process import can_leave_network
from loom_agents.trust import WorkspaceTrust
from loom_runner import RunnerError, SQLiteStore
from loom_runner.cli_base import database_exists, records_problem

from loom_run._config.settings import load_settings
from loom_run._config.setup import undo_path
from loom_run._config.trust import trusted_files


@dataclass(frozen=True, slots=True)
class Check:
    """Hold the result of one check. `bad`: something cannot work; `warn`: something may not work.

    Args:
        name: What was checked.
        verdict: The result.
        text: What was found, and what to do.
    """

    name: str
    verdict: Literal["ok", "warn", "bad"]
    text: str

    def to_json(self) -> dict[str, Any]:
        """Return what `--output json` prints."""
        return asdict(self)


def run_checks(db: str, model: str | None) -> Iterator[Check]:
    """Check this machine, the current folder, the database and the model.

    Args:
        db: The database; it need not exist.
        model: A model to check, in place of the configured one.
    """
    yield Check("python", "ok", f"{sys.version.split()[0]} in {sys.prefix}")
    yield _program("git", "git_status, git_diff and git_commit do not work without it")
    yield _settings()
    yield _model(model)
    yield _database(db)
    yield _undo(db)
    yield _tests()
    yield _network()
    yield _trust()
    yield _records()
    is_terminal = sys.stdin is not None and sys.stdin.isatty()
    where = "approvals are requested at once" if is_terminal else "a run that needs approval ends with exit code 3"
    yield Check("terminal", "ok", where)


def _program(name: str, consequence: str) -> Check:
    found = shutil.which(name)
    return Check(name, "ok", found) if found else Check(name, "warn", f"is not installed: {consequence}")


def _settings() -> Check:
    try:
        settings = load_settings()
    except RunnerError as exc:
        return Check("settings", "bad", " ".join(str(exc).split()))
    origins = sorted({str(origin) for origin in settings.origins.values()})
    return Check("settings", "ok", f"from {', '.join(origins)}" if origins else "nothing is set; see loom-run config")


def _model(named: str | None) -> Check:
    try:
        model = named or load_settings().model
    except RunnerError:
        model = named
    if model is None:
        return Check("model", "warn", "none is set: give --model, set LOOM_MODEL, or work with --mock-llm")
    if importlib.util.find_spec("pydantic_ai") is None:
        return Check("model", "bad", f'{model} needs an extra: pip install "loom-run[openai]" (or anthropic, google)')
    try:
        ProviderModel(model)
    except ModelError as exc:
        return Check("model", "bad", " ".join(str(exc).split()))
    return Check("model", "ok", f"{model} is configured; only a chat shows whether its provider answers")


def _database(db: str) -> Check:
    try:
        if not database_exists(db):
            return Check("database", "ok", f"{db} does not exist yet; the first run creates it")
        with SQLiteStore(db, read_only=True) as store:
            runs = len(store.reader.list_runs(limit=1000))
    except RunnerError as exc:
        return Check("database", "bad", " ".join(str(exc).split()))
    return Check("database", "ok", f"{db}, {runs} runs; loom-runner doctor checks more")


def _undo(db: str) -> Check:
    file = undo_path(Path(db))
    try:
        text = f"{file} records what runs have changed, {file.stat().st_size:,} bytes"
    except OSError:
        text = "no run has changed a file"
    return Check("undo", "ok", text)


def _tests() -> Check:
    folder = Path.cwd()
    for place in (".venv/bin/python", "venv/bin/python"):
        if (folder / place).is_file():
            return Check("tests", "ok", f"run_tests starts pytest of {place}")
    if importlib.util.find_spec("pytest") is None:
        return Check("tests", "warn", "there is no pytest here: name another program with --test-command")
    return Check("tests", "ok", f"run_tests starts pytest of {os.path.basename(sys.executable)}")  # noqa: PTH119 - a name


def _network() -> Check:
    try:
        is_on = load_settings().test_network
    except RunnerError:
        is_on = None
    if is_on:
        return Check("network", "ok", "tests may use the network (test_network)")
    if can_leave_network():
        return Check("network", "ok", "tests run without network, except their own loopback")
    return Check("network", "warn", "tests can use the network: this system does not permit network namespaces")


def _trust() -> Check:
    try:
        command = load_settings().test_command
    except RunnerError:
        command = None
    words = tuple(shlex.split(command)) if command else None
    try:
        objection = WorkspaceTrust(Workspace.at(Path()), trusted_files(), words).objection()
    except AgentError as exc:
        return Check("trust", "bad", str(exc))
    if objection is None:
        return Check("trust", "ok", "the workspace is trusted: run_tests may run what it brings")
    return Check("trust", "ok", "the workspace is not trusted: run_tests asks before each call; see loom-run trust")


def _records() -> Check:
    problem = records_problem()
    if problem is None:
        return Check("records", "ok", "which databases and setups are yours is recorded")
    return Check("records", "warn", f"a run's setup must be given again with each command, because {problem}")
