"""Look whether what `loom-run` needs is there: one line for each thing, and what to do where something is missing."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from loom_agents import ModelError, ProviderModel
from loom_runner import RunnerError, SQLiteStore

from loom_run._config import load_settings
from loom_run._setup import undo_log


@dataclass(frozen=True, slots=True)
class Check:
    """Say how one thing stands. `bad` keeps something from working; `warn` may.

    Args:
        name: the thing.
        verdict: how it stands.
        text: what was found, and what to do.
    """

    name: str
    verdict: Literal["ok", "warn", "bad"]
    text: str

    def to_json(self) -> dict[str, Any]:
        """Give what `--output json` prints."""
        return asdict(self)


def examine(db: str, model: str | None) -> Iterator[Check]:
    """Look at this machine, the current folder, the database and the model.

    Args:
        db: the database; it need not exist.
        model: a model to look at, in place of the one that is set.
    """
    yield Check("python", "ok", f"{sys.version.split()[0]} in {sys.prefix}")
    yield _program("git", "git_status, git_diff and git_commit do not work without it")
    yield _settings()
    yield _model(model)
    yield _database(db)
    yield _undo(db)
    yield _tests()
    is_terminal = sys.stdin is not None and sys.stdin.isatty()
    where = "questions are asked in place" if is_terminal else "a run that needs a word ends with exit code 3"
    yield Check("terminal", "ok", where)


def _program(name: str, lacking: str) -> Check:
    found = shutil.which(name)
    return Check(name, "ok", found) if found else Check(name, "warn", f"is not here: {lacking}")


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
    return Check("model", "ok", f"{model} can be asked; whether its provider answers, only a chat shows")


def _database(db: str) -> Check:
    if not Path(db).exists():
        return Check("database", "ok", f"{db} is not there yet; the first run makes it")
    try:
        with SQLiteStore(db, read_only=True) as store:
            runs = len(store.list_runs(limit=1000))
    except RunnerError as exc:
        return Check("database", "bad", " ".join(str(exc).split()))
    return Check("database", "ok", f"{db}, {runs} runs; loom-runner doctor looks deeper")


def _undo(db: str) -> Check:
    file = undo_log(Path(db))
    if not file.exists():
        return Check("undo", "ok", "nothing was changed by a run")
    return Check("undo", "ok", f"{file} keeps what runs have changed, {file.stat().st_size:,} bytes")


def _tests() -> Check:
    folder = Path.cwd()
    for place in (".venv/bin/python", "venv/bin/python"):
        if (folder / place).is_file():
            return Check("tests", "ok", f"run_tests starts pytest of {place}")
    if importlib.util.find_spec("pytest") is None:
        return Check("tests", "warn", "no pytest here: name another program with --test-command")
    return Check("tests", "ok", f"run_tests starts pytest of {os.path.basename(sys.executable)}")  # noqa: PTH119 - a name
