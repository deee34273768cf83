"""Every example in a docstring runs.

An example is an indented block of Python after an empty line. What it takes for granted (a function
of the reader, a folder) is in BEFORE, under the name of what has the docstring; what it must have
done may be asserted in AFTER. An example that defines tests is run by pytest.
"""

import ast
import asyncio
import inspect
import re
import subprocess
import sys
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import workspace

ROOT = Path(__file__).resolve().parent.parent

BEFORE = {
    "flow_xray._captures.store.TraceStore": "from flow_xray import TraceStore\ndef main(): ...",
    "flow_xray._record.trace.Trace": "from flow_xray import trace",
    "flow_xray._record.trace.Trace.environment": """
import os, subprocess, sys
from flow_xray import trace
command = [sys.executable, "-c", "import os; os.environ['FLOW_XRAY_PARENT']"]
""",
    "flow_xray.asgi": "def app(scope, receive, send): ...",
    "flow_xray.otel": "from opentelemetry.sdk.trace import SpanLimits, TracerProvider",
    "flow_xray.pytest_plugin": "from flow_xray import trace\n@trace\ndef agent(question): return question",
    "flow_xray.terminal.VisibleStream": "from flow_xray.terminal import VisibleStream",
    "loom": """
from dataclasses import dataclass
@dataclass
class State:
    number: int
    @property
    def done(self): return self.number == 0
    def apply(self, event): return State(self.number - event)
async def run_next_step(state): return 1
""",
    "loom_agents._mcp.toolset": """
from loom_agents import Workspace, workspace_tools
from loom_agents.mcp import BlobFolder, McpServers, read_mcp_config
from pathlib import Path
Path(".mcp.json").write_text('{"mcpServers": {}}')
folder, workspace = Path("blobs"), Workspace.at(Path("."))
""",
    "loom_runner": """
from dataclasses import dataclass
from loom_runner import AgentRunner, Complete, Continue, RunContext, SQLiteStore, ToolRegistry
@dataclass
class State:
    url: str
tools = ToolRegistry()
@tools.tool("fetch", idempotent=True)
async def fetch(url: str) -> str: return url
""",
    "loom_runner.pytest_plugin": """
from loom_runner import AgentRunner, Complete, SQLiteStore
from dataclasses import dataclass
@dataclass
class State: ...
async def step(state: State, ctx) -> Complete[int]: return Complete(1)
def build_runner(path): return AgentRunner(step=step, store=SQLiteStore(path))
""",
    "loom_runner.testing._store_contract": """
import pytest
from functools import partial
from loom_runner import SQLiteStore
MyStore = partial(SQLiteStore, durability="process")
from loom_runner.testing import StoreContract
""",
}
BEFORE["loom_agents.workspace"] = """
from pathlib import Path
from loom_agents.workspace import FileTools, Workspace
Path("README.md").write_text("TODO")
"""
BEFORE["rule_based_verifier.server"] = """
from mcp.client import Client
from rule_based_verifier import build_server, load_settings
"""
BEFORE["docs_memory_mcp"] = BEFORE["loom_agents.search"] = """
from pathlib import Path
Path("docs").mkdir()
"""
BEFORE["loom_agents.mcp"] = BEFORE["loom_agents._mcp.toolset"]
BEFORE["loom_runner.testing"] = f"""{BEFORE["loom_runner.pytest_plugin"]}
import pytest
from loom_runner.testing import FakeClock, StoreContract, crash_at
path = "runs.sqlite"
@pytest.fixture
def store(tmp_path):
    with SQLiteStore(tmp_path / "runs.db", durability="process") as store:
        yield store
"""
AFTER = {
    "flow_xray": "from pathlib import Path\nassert len(result.spans) == 1 and Path('trace.html').exists()",
    "flow_xray._captures.store.TraceStore": "assert [each.name for each in store.captures()] == ['nightly']",
    "loom": "import asyncio\nassert asyncio.run(agent_loop(State(10_000))) == State(0)",
    "loom_agents": "assert 'waiting' in str(runner.explain_run('demo'))",
    "loom_runner": "assert result.status == 'completed'",
}
DRAWINGS = {"loom._loop"}  # a function beside what is made of it: two columns


def docstrings() -> Iterator[tuple[str, str]]:
    """Where each docstring of the packages is, with its text."""

    def walk(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
        if text := ast.get_docstring(node):  # type: ignore[arg-type]
            yield name, text
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield from walk(child, f"{name}.{child.name}")

    for package in workspace.packages(ROOT):
        for path in sorted(package.source.rglob("*.py")):
            module = ".".join(path.relative_to(package.source.parent).with_suffix("").parts)
            yield from walk(ast.parse(path.read_text(encoding="utf-8")), module.removesuffix(".__init__"))


def blocks(text: str) -> Iterator[str]:
    """The indented blocks of a docstring, each after an empty line."""
    for match in re.finditer(r"(?:^|\n)\n((?:    .*\n|\n)+)", f"{text}\n"):
        yield textwrap.dedent(match[1]).strip()


def is_example(block: str) -> bool:
    """Tell whether a block is Python that does something; a table, JSON and commands are not."""
    try:
        tree = ast.parse(block)
    except SyntaxError:
        return False
    return any(
        isinstance(node, ast.Call | ast.FunctionDef | ast.AsyncFunctionDef | ast.Import) for node in ast.walk(tree)
    )


DOCSTRINGS = list(docstrings())
EXAMPLES = [(name, block) for name, text in DOCSTRINGS for block in blocks(text) if is_example(block)]


@pytest.mark.parametrize(("name", "example"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_an_example_runs(name: str, example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "test_example.py"
    path.write_text("\n".join([BEFORE.get(name, ""), example, AFTER.get(name, "")]), encoding="utf-8")
    if re.search(r"^(?:def test_|class Test)", example, re.MULTILINE):
        command = [sys.executable, "-m", "pytest", "-q", "--update-goldens", path.name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
        return
    code = compile(path.read_text(encoding="utf-8"), str(path), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    module = types.ModuleType("example")
    monkeypatch.setitem(sys.modules, "example", module)
    result = eval(code, vars(module))
    if inspect.iscoroutine(result):
        asyncio.run(result)


def test_what_looks_like_python_and_cannot_be_parsed_is_a_drawing() -> None:
    looks_like_python = re.compile(r"^ *(?:from|import|(?:async )?def|class|(?:async )?with|@\w+) .*", re.MULTILINE)
    odd = {
        name
        for name, text in DOCSTRINGS
        for block in blocks(text)
        if looks_like_python.search(block) and not is_example(block)
    }

    assert odd == DRAWINGS


def test_no_docstring_has_an_example_of_another_form() -> None:
    assert [name for name, text in DOCSTRINGS if ">>>" in text or "```" in text] == []


def test_what_is_prepared_is_used() -> None:
    assert {*BEFORE, *AFTER} - {name for name, _ in EXAMPLES} == set()
