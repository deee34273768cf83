import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from loom_agents.process import can_leave_network
from loom_ops._commands.allow_rules import Rules
from loom_ops._commands.rules_file import parse_rules
from loom_ops._commands.run import CommandResult, run_command
from loom_ops._commands.secrets import Vault
from loom_ops._errors import CommandDeniedError, LoomOpsError, RulesError
from loom_ops._runbook.model import SecretSource

pytestmark = pytest.mark.interpreter


@pytest.fixture
def rules(tmp_path: Path) -> Rules:
    script = tmp_path / "tool"
    script.write_text(
        f"#!{sys.executable}\n"
        "import os, sys, time\n"
        "print(sorted(os.environ)); print(os.getcwd()); print(sys.argv[1:]); print(repr(sys.stdin.read()))\n"
        "print(os.environ.get('TOKEN'))\n"
        "sys.stdout.flush()\n"
        "if 'wait' in sys.argv: time.sleep(60)\n"
        "if 'loud' in sys.argv: print('x' * 200_000)\n"
        "sys.exit(3 if 'fail' in sys.argv else 0)\n"
    )
    script.chmod(0o755)
    (tmp_path / "inside").mkdir()
    (tmp_path / "out").symlink_to("/")
    text = f"""
allow:
  - {{argv: ["{script}", "{{x}}"], params: {{x: {{pattern: ".*", may: [text]}}}}, env: [TOKEN, SEEN_ID], cwd: inside, timeout: 60s}}
  - {{argv: ["{script}"], cwd: out}}
"""
    return parse_rules(text, "rules.yaml")


def run(
    rules: Rules, tmp_path: Path, *words: str, timeout_s: float = 20, environment: dict[str, str] | None = None
) -> CommandResult:
    argv = (str(tmp_path / "tool"), *words)
    vault = Vault({"token": SecretSource("token", 1, "file", "token.txt", commands=argv[:1])}, tmp_path)
    return asyncio.run(
        run_command(
            argv,
            rules=rules,
            effect="write",
            timeout_s=timeout_s,
            workspace=tmp_path,
            vault=vault,
            environment=environment,
        )
    )


def test_a_command_gets_only_the_listed_environment(
    rules: Rules, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET", "x")
    monkeypatch.setenv("SEEN_ID", "y")
    ended = run(rules, tmp_path, "a; echo b $(id)")
    names, folder, argv, stdin, _ = ended.output.splitlines()
    assert ended.is_ok and "AWS_SECRET" not in names and "'SEEN_ID'" in names
    assert folder == str(tmp_path / "inside") and argv == "['a; echo b $(id)']" and stdin == "''"
    assert ended.rule == "rules.yaml:3" and str(ended).endswith(": done")


def test_a_secret_reaches_the_command_and_is_masked_in_its_output(rules: Rules, tmp_path: Path) -> None:
    (tmp_path / "token.txt").write_text("s3cr3t-value\n")
    ended = run(rules, tmp_path, "x", environment={"TOKEN": "{secret.token}"})
    assert "s3cr3t" not in str(ended.as_json()) and ended.output.splitlines()[-1] == "[secret]"


def test_a_failure_reports_how_the_command_ended(rules: Rules, tmp_path: Path) -> None:
    ended = run(rules, tmp_path, "fail")
    assert not ended.is_ok and ended.exit_code == 3 and "ended with 3" in str(ended)


def test_a_command_is_stopped_after_its_timeout(rules: Rules, tmp_path: Path) -> None:
    before = time.monotonic()
    ended = run(rules, tmp_path, "wait", timeout_s=1)
    assert ended.exit_code is None and "[stopped after 1s]" in ended.output and time.monotonic() - before < 20


def test_a_long_output_is_truncated_and_marked_as_truncated(rules: Rules, tmp_path: Path) -> None:
    ended = run(rules, tmp_path, "loud")
    assert ended.truncated and len(ended.output) < 70_000 and "omitted" in ended.output


@pytest.mark.skipif(not can_leave_network(), reason="the platform has no network namespaces")
def test_a_rule_can_take_the_network_from_a_command(tmp_path: Path) -> None:
    argv = ["/usr/bin/env", "cat", "/proc/net/dev"]
    seen = []
    for network in ("true", "false"):
        rules = parse_rules(f"allow: [{{argv: {argv}, network: {network}}}]".replace("'", ""), "rules.yaml")
        seen.append(start(tmp_path, rules, *argv).output)
    names = [[line.partition(":")[0].strip() for line in output.splitlines()[2:]] for output in seen]
    assert names[1] == ["lo"] and "lo" in names[0]
    with pytest.raises(RulesError, match="network is 'no'"):
        parse_rules("allow: [{argv: [x], network: 'no'}]", "rules.yaml")


def test_nothing_starts_outside_the_workspace_or_with_other_variables(rules: Rules, tmp_path: Path) -> None:
    with pytest.raises(CommandDeniedError, match="does not exist inside the workspace"):
        run(rules, tmp_path)
    with pytest.raises(CommandDeniedError, match="variable 'OTHER'"):
        run(rules, tmp_path, "x", environment={"OTHER": "1"})
    with pytest.raises(CommandDeniedError, match="no rule"):
        run(rules, tmp_path, "x", "--help")


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, "No such file"), ("", "is not set"), ("ab", "too short"), (b"\xff\xff\xff\xff", "not UTF-8")],
)
def test_an_unusable_secret_stops_the_step_and_is_not_shown(
    rules: Rules, tmp_path: Path, content: str | bytes | None, expected: str
) -> None:
    if content is not None:
        (tmp_path / "token.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(LoomOpsError, match=expected):
        run(rules, tmp_path, "x", environment={"TOKEN": "{secret.token}"})


def start(tmp_path: Path, rules: Rules, *argv: str, effect: Any = "write") -> CommandResult:
    """Run a command without secrets."""
    vault = Vault({}, tmp_path)
    return asyncio.run(
        run_command(argv, rules=rules, effect=effect, timeout_s=20, workspace=tmp_path, vault=vault, environment={})
    )


def test_a_step_that_reads_does_not_start_a_command_that_writes(tmp_path: Path) -> None:
    rules = parse_rules("allow: [{argv: [touch, done]}]", "rules.yaml")
    with pytest.raises(CommandDeniedError, match="declares effect write"):
        start(tmp_path, rules, "touch", "done", effect="read")
    assert not (tmp_path / "done").exists()
    assert start(tmp_path, rules, "touch", "done").is_ok and (tmp_path / "done").exists()


def test_a_command_finds_other_programs_only_in_the_folders_of_the_rules(tmp_path: Path) -> None:
    (tmp_path / "show").write_text('#!/bin/sh\necho "$PATH"\n')
    (tmp_path / "show").chmod(0o755)
    rules = parse_rules(f"path: [{tmp_path}, /bin]\nallow: [{{argv: [show]}}]", "rules.yaml")
    assert start(tmp_path, rules, "show").output == f"{tmp_path}:/bin\n"
