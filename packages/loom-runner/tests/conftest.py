"""Fixtures of this package: a store, a fake clock, and the command in a separate process."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from loom_runner import SQLiteStore
from loom_runner._cli import base
from loom_runner._cli.main import main_group
from loom_runner.testing import FakeClock

AGENT = '''
"""An agent whose effects are lines in a file outside the database, and which can be killed at named places."""
import asyncio, os, signal, time
from dataclasses import dataclass
from pathlib import Path
from loom_runner import AgentRunner, Complete, Continue, RunContext, SQLiteStore, ToolRegistry, Wait

HERE = Path(__file__).parent
POLICY = os.environ.get("POLICY", "idempotent")
tools = ToolRegistry()


def effect(text: str) -> None:
    with (HERE / "effects.txt").open("a") as file:
        file.write(text + "\\n")


def die_at(place: str) -> None:
    """Die once at a named place."""
    if os.environ.get("DIE_AT") == place and not (HERE / f"died-{place}").exists():
        (HERE / f"died-{place}").touch()
        os.kill(os.getpid(), signal.SIGKILL)


def block_at(place: str) -> None:
    """Report that the place is reached, and wait until the test releases it."""
    if os.environ.get("BLOCK_AT") == place:
        (HERE / "reached").touch()
        while not (HERE / "open").exists():
            time.sleep(0.005)


@dataclass(frozen=True)
class State:
    n: int = 0


async def charge(n: int, idempotency_key: str) -> str:
    die_at(f"tool-{n}-before-effect")
    block_at(f"tool-{n}")
    effect(f"charge {n} {idempotency_key}")
    die_at(f"tool-{n}-after-effect")
    return f"receipt {n}"


tools.tool("charge", idempotent=POLICY == "idempotent", on_doubt=POLICY if POLICY in ("retry", "ask", "fail") else None)(charge)


async def step(state: State, ctx: RunContext) -> Continue[State] | Complete[int] | Wait[State]:
    die_at(f"step-{state.n}")
    block_at(f"step-{state.n}")
    if os.environ.get("SLEEP_AT") == str(state.n):
        (HERE / "reached").touch()
        await asyncio.sleep(60)
    if state.n == int(os.environ.get("STEPS", "4")):
        return Complete(state.n)
    receipt = await ctx.call_tool("charge", n=state.n)
    assert receipt == f"receipt {state.n}", receipt
    die_at(f"before-commit-{state.n}")
    return Continue(State(state.n + 1))


def initial_state() -> State:
    return State()


def build_runner(db_path: str) -> AgentRunner:
    def after(event):
        if event.kind == "step_committed":
            die_at(f"after-commit-{event.step_index}")
    return AgentRunner(
        step=step, store=SQLiteStore(db_path, "process"), tools=tools, observers=[after],
        lease_s=float(os.environ.get("LEASE_S", "15")),
    )
'''


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    with SQLiteStore(tmp_path / "runs.sqlite", "process") as store:
        yield store


@dataclass
class Place:
    """A folder with an agent in it, and the command to run it in other processes."""

    folder: Path

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(textwrap.dedent(text), "utf-8")
        return path

    def spawn(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "loom_runner", *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONWARNINGS": "error", **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        process = self.spawn(*arguments, **env)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command in this process: the same code, without a new interpreter."""
        out, err = io.StringIO(), io.StringIO()
        path, modules = list(sys.path), set(sys.modules)
        try:
            with contextlib.chdir(self.folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = base.exit_code_of_command(main_group, list(arguments), "loom-runner")
        finally:
            sys.path[:] = path
            for name in set(sys.modules) - modules:
                if str(self.folder) in str(getattr(sys.modules[name], "__file__", "")):
                    del sys.modules[name]
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())

    def killed(self, *arguments: str, **env: str) -> None:
        """Run a command that is expected to kill itself."""
        done = self.run(*arguments, **env)
        assert done.returncode == -signal.SIGKILL, (done.returncode, done.stdout, done.stderr)

    def effects(self) -> list[str]:
        path = self.folder / "effects.txt"
        return path.read_text("utf-8").splitlines() if path.exists() else []

    def wait_for(self, name: str, process: subprocess.Popen[str]) -> None:
        """Wait until a process has created a file."""
        while not (self.folder / name).exists():
            assert process.poll() is None, process.communicate()
            try:
                process.wait(0.005)
            except subprocess.TimeoutExpired:
                continue


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.write("agent.py", AGENT)
    return place


@pytest.fixture
def go() -> Callable[..., object]:
    return asyncio.run
