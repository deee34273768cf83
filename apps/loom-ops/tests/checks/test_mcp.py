"""Checks of kind `mcp`: what a tool of an MCP server returns, and when its server may be
started.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from loom_ops._checks.run import CheckResult, run_check
from loom_ops._commands.context import ExecutionContext
from loom_ops._commands.rules_file import parse_rules
from loom_ops._commands.secrets import Vault
from loom_ops._runbook.model import Check
from loom_ops._runbook.parse import parse_runbook

SERVER = """
import os, sys
from pathlib import Path
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

Path("started").write_text(os.getcwd())
server = MCPServer("fake")

@server.tool(structured_output=True)
def judge(verdict: str, failed: int = 0) -> dict[str, object]:
    return {"verdict": verdict, "counts": {"failed": failed}, "colour": os.environ.get("COLOUR_TOKEN", "")}

@server.tool(structured_output=False)
def prose() -> str:
    return "all is well"

@server.tool()
def refuse() -> str:
    raise ToolError("not today")

@server.tool()
def wait() -> str:
    import time
    time.sleep(60)
    return "late"

server.run(transport="stdio")
"""


class Site:
    """A folder with `.mcp.json`, the program of a server, and allow rules."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "server.py").write_text(SERVER)
        self.argv = [sys.executable, str(folder / "server.py")]
        self.entry: dict[str, Any] = {"command": self.argv[0], "args": self.argv[1:], "loom": {"effect": "read"}}
        self.rule: dict[str, Any] = {"argv": self.argv, "effect": "read", "timeout": "60s"}

    def ask(
        self, tool: str = "judge", *, timeout_s: float = 30, expect: str | None = None, **options: Any
    ) -> CheckResult:
        (self.folder / ".mcp.json").write_text(json.dumps({"mcpServers": {"fake": self.entry}}))
        rules = parse_rules(json.dumps({"allow": [self.rule]}), "r")
        context = ExecutionContext(self.folder, rules, Vault({}, self.folder), mcp_file=self.folder / ".mcp.json")
        check = Check("it", 1, "top", "mcp", {"server": "fake", "tool": tool, **options}, expect, timeout_s)
        return asyncio.run(run_check(check, context))

    @property
    def was_started(self) -> bool:
        return (self.folder / "started").exists()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_the_result_of_a_tool_is_compared(site: Site) -> None:
    good = site.ask(arguments={"verdict": "pass"}, result={"verdict": "pass", "counts.failed": 0})
    assert (good.ok, good.verdict) == (True, "healthy")
    assert good.evidence == "judge: verdict is pass, counts.failed is 0"
    bad = site.ask(arguments={"verdict": "fail"}, result={"verdict": "pass"})
    assert (bad.ok, bad.verdict) == (False, "unhealthy")
    assert bad.evidence == "verdict is 'fail', expected 'pass'; verdict 'fail'"


def test_a_number_of_the_result_is_measured(site: Site) -> None:
    few = site.ask(arguments={"verdict": "pass", "failed": 2}, measure="json.counts.failed", expect="< 3")
    assert (few.ok, few.value, few.verdict) == (True, 2.0, "healthy")
    many = site.ask(arguments={"verdict": "pass", "failed": 3}, measure="json.counts.failed", expect="< 3")
    assert (many.ok, many.verdict) == (False, "unhealthy")


@pytest.mark.parametrize(
    ("tool", "options", "verdict", "expected"),
    [
        ("judge", {"arguments": {"verdict": "pass"}, "result": {"colour.red": 1}}, "unhealthy", "has no colour.red"),
        ("prose", {"result": {"verdict": "pass"}}, "unhealthy", "the result is text: 'all is well'"),
        ("judge", {"arguments": {"verdict": 7}, "result": {"verdict": 7}}, "cannot_tell", "invalid arguments"),
        ("judge", {"arguments": {}, "result": {"verdict": 7}}, "cannot_tell", "'verdict' is a required property"),
        ("refuse", {"result": {"a": 1}}, "cannot_tell", "not today"),
        ("other", {"result": {"a": 1}}, "cannot_tell", "offers no tool 'other'; it offers: judge, prose, refuse, wait"),
        ("judge", {}, "cannot_tell", "needs result"),
        ("judge", {"arguments": "x", "result": {"a": 1}}, "cannot_tell", "needs result"),
        ("wait", {"result": {"a": 1}, "timeout_s": 4}, "cannot_tell", "no answer within 4 s"),
    ],
)
def test_a_call_without_a_usable_result_says_why(
    site: Site, tool: str, options: dict[str, Any], verdict: str, expected: str
) -> None:
    found = site.ask(tool, **options)
    assert (found.ok, found.verdict, expected in found.evidence) == (False, verdict, True), found.evidence


def test_a_server_starts_only_by_a_rule_that_lists_its_argv(site: Site) -> None:
    site.rule["argv"] = [*site.argv, "--more"]
    found = site.ask(result={"verdict": "pass"})
    assert "no rule in r allows exactly this" in found.evidence and found.verdict == "cannot_tell"
    site.rule |= {"argv": site.argv, "effect": "write"}
    assert "declares effect write" in site.ask(result={"verdict": "pass"}).evidence
    assert not site.was_started


def test_no_server_is_used_while_commands_are_off(site: Site) -> None:
    site.ask(arguments={"verdict": "pass"}, result={"verdict": "pass"})
    (site.folder / "started").unlink()
    context = ExecutionContext(site.folder, None, Vault({}, site.folder), mcp_file=site.folder / ".mcp.json")
    for entry in (site.entry, {"url": "http://127.0.0.1:9/mcp", "loom": {"effect": "read"}}):
        (site.folder / ".mcp.json").write_text(json.dumps({"mcpServers": {"fake": entry}}))
        options = {"server": "fake", "tool": "judge", "result": {"verdict": "pass"}}
        found = asyncio.run(run_check(Check("it", 1, "top", "mcp", options, None), context))
        assert (found.verdict, "commands are off" in found.evidence) == ("cannot_tell", True)
    assert not site.was_started


def test_what_the_server_says_about_itself_grants_nothing(site: Site) -> None:
    for loom in ({}, {"effect": "write"}, {"effect": "idempotent"}):
        site.entry["loom"] = loom
        assert 'add "loom": {"effect": "read", "tools": {"allow": ["judge"]}}' in site.ask(result={"a": 1}).evidence
    assert not site.was_started


def test_the_file_decides_which_tools_are_used(site: Site) -> None:
    site.entry["loom"] = {"effect": "read", "tools": {"allow": ["prose"]}}
    assert "it offers: prose" in site.ask(result={"a": 1}).evidence


def test_a_server_gets_only_the_variables_and_the_folder_of_its_rule(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLOUR_TOKEN", "red")
    plain = {"arguments": {"verdict": "pass"}, "result": {"colour": ""}}
    assert site.ask(**plain).ok
    site.rule["env"] = ["COLOUR_TOKEN"]
    assert site.ask(arguments={"verdict": "pass"}, result={"colour": "red"}).ok
    site.entry["env"] = {"COLOUR_TOKEN": "blue"}
    assert site.ask(arguments={"verdict": "pass"}, result={"colour": "blue"}).ok
    site.rule["env"] = {"COLOUR_TOKEN": "green"}
    assert site.ask(arguments={"verdict": "pass"}, result={"colour": "green"}).ok
    site.entry["env"] = {"PYTHONPATH": "/tmp"}
    (site.folder / "started").unlink()
    assert "sets the variable 'PYTHONPATH', which r line 1 does not list in env" in site.ask(**plain).evidence
    assert not site.was_started
    del site.entry["env"]
    (site.folder / "below").mkdir()
    site.rule["cwd"], site.entry["cwd"] = "below", "/"
    assert site.ask(arguments={"verdict": "pass"}, result={"verdict": "pass"}).ok
    assert Path((site.folder / "below" / "started").read_text()) == (site.folder / "below").resolve()
    site.rule["network"] = False
    assert "network: false" in site.ask(**plain).evidence


def test_what_is_wrong_with_the_file_is_said(site: Site) -> None:
    path = site.folder / ".mcp.json"
    context = ExecutionContext(
        site.folder, parse_rules("allow: [{argv: [x]}]", "r"), Vault({}, site.folder), mcp_file=path
    )

    def evidence(server: str = "fake") -> str:
        options = {"server": server, "tool": "judge", "result": {"a": 1}}
        return asyncio.run(run_check(Check("it", 1, "top", "mcp", options, None), context)).evidence

    assert evidence().startswith("there is no ")
    path.write_text("{")
    assert "is not JSON" in evidence()
    path.write_text(json.dumps({"mcpServers": {"a": site.entry, "broken": {"command": ""}}}))
    assert "has no MCP server 'fake'; it has: a" in evidence()
    assert "its command is empty" in evidence("broken")
    path.chmod(0o666)
    if os.geteuid() == 0 or path.stat().st_mode & 0o002:
        assert "cannot read" in evidence()


def test_a_server_that_does_not_start_is_named_with_its_last_words(site: Site) -> None:
    (site.folder / "server.py").write_text("import sys; print('no licence', file=sys.stderr); sys.exit(3)")
    found = site.ask(result={"a": 1})
    assert found.verdict == "cannot_tell" and "no licence" in found.evidence


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("", "says nothing about the result of the tool"),
        ("result: 3\n", "result is not a mapping"),
        ("result: {a: 1}\narguments: [1]\n", "arguments is not a mapping"),
        ("measure: json.a\n", "has one of measure and expect"),
        ("result: {a: 1}\nexpect: '< 3'\n", "has one of measure and expect"),
        ("result: {a: 1}\n", ""),
        ("measure: json.a\nexpect: '< 3'\n", ""),
    ],
)
def test_a_runbook_says_what_is_expected_of_the_tool(lines: str, problem: str) -> None:
    text = f"# T\n\n```check id=tests\nkind: mcp\nserver: s\ntool: t\n{lines}```\n"
    runbook, problems = parse_runbook(text, "r.md")
    assert [each.text for each in problems] == [each.text for each in problems if problem and problem in each.text]
    assert bool(problems) == bool(problem) == (runbook is None)
