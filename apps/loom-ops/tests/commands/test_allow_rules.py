import os
from pathlib import Path

import pytest
from loom_ops._commands.allow_rules import Rules
from loom_ops._commands.rules_file import ALLOW_VARIABLE, load_rules, parse_rules
from loom_ops._errors import CommandDeniedError, RulesError

ON = {ALLOW_VARIABLE: "1"}
GOOD = """\
allow:
  - argv: [kubectl, rollout, undo, "deployment/{service}"]
    params: {service: "api|web"}
    timeout: 300s
    env: [KUBE_TOKEN]
  - argv: [git, status]
    effect: read
  - argv: [ls, "{path}"]
    params: {path: {pattern: ".*", may: [text]}}
    effect: read
  - argv: [cp, "{file}", "{file}.bak"]
    params: {file: "[a-z]+"}
"""


@pytest.fixture
def rules() -> Rules:
    return parse_rules(GOOD, "ops.rules.yaml")


def test_a_command_is_allowed_when_every_word_matches(rules: Rules) -> None:
    rule = rules.rule_for(["kubectl", "rollout", "undo", "deployment/api"])
    assert rule is not None and rule.line == 2 and rule.environment == ("KUBE_TOKEN",)
    assert rules.check(["git", "status"], "read", 5).program.endswith("/git")
    assert rules.rule_for(["cp", "a", "a.bak"]) is not None


@pytest.mark.parametrize(
    "argv",
    [
        # Attempts to bypass a list of prefixes.
        ["git", "-c", "alias.x=!id", "x"],
        ["git", "--help"],
        ["git"],
        ["git", "status", "--help"],
        ["git", "status", "-c", "core.pager=id"],
        ["git", "status", ";", "id"],
        ["git", "status;id"],
        ["git", "status\nid"],
        ["git", "status "],
        ["git ", "status"],
        ["git", "Status"],
        ["git status"],
        ["git", "status", ""],
        ["", "git", "status"],
        ["./git", "status"],
        ["/tmp/git", "status"],
        ["../bin/git", "status"],
        ["env", "git", "status"],
        ["sudo", "git", "status"],
        ["sh", "-c", "git status"],
        ["busybox", "git", "status"],
        # Attempts to bypass a slot.
        ["kubectl", "rollout", "undo", "deployment/api-7f;id"],
        ["kubectl", "rollout", "undo", "deployment/api "],
        ["kubectl", "rollout", "undo", "deployment/api\n"],
        ["kubectl", "rollout", "undo", "deployment/api\nid"],
        ["kubectl", "rollout", "undo", "deployment/api --all"],
        ["kubectl", "rollout", "undo", "deployment/api", "--all"],
        ["kubectl", "rollout", "undo", "--all"],
        ["kubectl", "rollout", "undo", "deployment/"],
        ["kubectl", "rollout", "undo", "deployment/ap"],
        ["kubectl", "rollout", "undo", "deployment/apiweb"],
        ["kubectl", "rollout", "undo", "deployment/api|web"],
        ["kubectl", "rollout", "undo", "deployment/API"],
        ["kubectl", "rollout", "undo", "deployment/аpi"],  # a Cyrillic letter
        ["kubectl", "rollout", "undo", "deployment/$(id)"],
        ["kubectl", "rollout", "undo", "deployment/`id`"],
        ["kubectl", "rollout", "undo", "deployment/{service}"],
        ["kubectl", "rollout", "undo", "deployment/../api"],
        ["kubectl", "--kubeconfig=/tmp/x", "rollout", "undo", "deployment/api"],
        ["ls", "-la"],
        ["ls", "--color=$(id)"],
        ["ls", "-"],
        ["cp", "a", "b.bak"],
        ["cp", "a.bak", "a"],
        ["cp", "a", "a.bakx"],
        ["cp", "a", "a.bak.bak"],
        ["cp", "-r", "-r.bak"],
    ],
)
def test_nothing_else_is_allowed(rules: Rules, argv: list[str]) -> None:
    with pytest.raises(CommandDeniedError) as caught:
        rules.check(argv, "write", 1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("word", ["a\nb", "a\x00b", "\x1b[31m", "\x7f", "x" * 5000])
def test_a_word_with_control_characters_or_of_excessive_length_is_always_refused(rules: Rules, word: str) -> None:
    with pytest.raises(CommandDeniedError, match="control character"):
        rules.check(["ls", word], "read", 1)


def test_a_template_may_match_where_either_side_has_a_slot(rules: Rules) -> None:
    assert rules.could_allow(["git", "{verb}"]) and rules.could_allow(["kubectl", "rollout", "undo", "{what}"])
    assert not rules.could_allow(["git", "push"]) and not rules.could_allow(["git", "status", "{flag}"])
    assert not rules.could_allow(["{program}"])


def test_an_absolute_path_that_is_not_a_program_is_not_started(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    for path in (tmp_path / "text", tmp_path / "missing", tmp_path):
        rules = parse_rules(f"allow: [{{argv: ['{path}']}}]", "r")
        with pytest.raises(CommandDeniedError, match="there is no program"):
            rules.check([str(path)], "write", 1)


def test_a_step_that_reads_cannot_use_a_rule_that_writes(rules: Rules) -> None:
    with pytest.raises(CommandDeniedError, match="line 2 declares effect write"):
        rules.check(["kubectl", "rollout", "undo", "deployment/api"], "read", 1)


def test_a_timeout_above_the_rule_is_refused(rules: Rules) -> None:
    with pytest.raises(CommandDeniedError, match="10m is longer than the 5m"):
        rules.check(["git", "status"], "read", 600)


def test_a_program_that_is_not_in_the_fixed_folders_is_not_found(
    rules: Rules, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kubectl-of-mine").write_text("#!/bin/sh\n")
    (tmp_path / "kubectl-of-mine").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    mine = parse_rules("allow: [{argv: [kubectl-of-mine]}]", "r")
    with pytest.raises(CommandDeniedError, match="no program 'kubectl-of-mine'"):
        mine.check(["kubectl-of-mine"], "write", 1)
    assert parse_rules(f"path: [{tmp_path}]\nallow: [{{argv: [kubectl-of-mine]}}]", "r").check(
        ["kubectl-of-mine"], "write", 1
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "allows nothing"),
        ("allow: []", "allows nothing"),
        ("allow: [ls]", "is 'ls'"),
        ("allow: [{}]", "has no argv"),
        ("deny: []", "'deny' is not known"),
        ("allow: [{argv: [ls], shell: true}]", "'shell' is not known"),
        ("allow: [{argv: [ls, '{x}']}]", "{x} has no pattern"),
        ("allow: [{argv: [ls], params: {x: a}}]", "which argv does not use"),
        ("allow: [{argv: [ls, '{x}'], params: {x: '('}}]", "not a regular expression"),
        ("allow: [{argv: ['{x}'], params: {x: a}}]", "is not fixed"),
        ("allow: [{argv: [bin/tool]}]", "is not fixed"),
        ("allow: [{argv: [sh, -c, '{x}'], params: {x: .*}}]", "would execute the value of a slot"),
        ("allow: [{argv: [/usr/bin/python3.11, '{x}'], params: {x: .*}}]", "would execute the value of a slot"),
        ("allow: [{argv: [ls], effect: maybe}]", "effect 'maybe'"),
        ("allow: [{argv: [ls], timeout: 5}]", "not a duration"),
        ("allow: [{argv: [ls], env: [LD_PRELOAD]}]", "changes which code runs"),
        ("allow: [{argv: [ls], env: ['A=B']}]", "not a list of names"),
        ("allow: [{argv: [ls], cwd: ../x}]", "outside the workspace"),
        ("allow: [{argv: [ls], cwd: /}]", "outside the workspace"),
        ("path: [bin]\nallow: [{argv: [ls]}]", "not a list of absolute folders"),
        ("allow: [", "not YAML"),
    ],
)
def test_an_invalid_rules_file_is_named_and_nothing_is_started(text: str, expected: str) -> None:
    with pytest.raises(RulesError) as caught:
        parse_rules(text, "r.yaml")
    assert expected in str(caught.value) and "r.yaml" in str(caught.value)


def test_commands_are_off_by_default(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(GOOD)
    for environment in ({}, {ALLOW_VARIABLE: "0"}, {ALLOW_VARIABLE: "true"}):
        with pytest.raises(RulesError, match=f"Set {ALLOW_VARIABLE}=1"):
            load_rules(file, environment=environment)
    assert len(load_rules(file, environment=ON).rules) == 4


def test_a_rules_file_that_others_may_change_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    with pytest.raises(RulesError, match="no such file"):
        load_rules(file, environment=ON)
    file.write_text(GOOD)
    for mode in (0o664, 0o646):
        file.chmod(mode)
        with pytest.raises(RulesError, match="others can write"):
            load_rules(file, environment=ON)
    file.chmod(0o644)
    tmp_path.chmod(0o777)
    with pytest.raises(RulesError, match="others can write the folder"):
        load_rules(file, environment=ON)
    tmp_path.chmod(0o755)
    file.write_bytes(b"\xff")
    with pytest.raises(RulesError, match="not UTF-8"):
        load_rules(file, environment=ON)
    with pytest.raises(RulesError):
        load_rules(tmp_path, environment=ON)


def test_a_rules_file_of_another_user_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(GOOD)
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(file, 12_345, -1)
    with pytest.raises(RulesError, match="belongs to user 12345"):
        load_rules(file, environment=ON)


def test_a_world_writable_folder_is_safe_with_the_sticky_bit(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(GOOD)
    tmp_path.chmod(0o1777)
    assert load_rules(tmp_path / "r.yaml", environment=ON).rules


def test_an_endless_rules_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(GOOD + "#" * 1_000_000)
    with pytest.raises(RulesError, match="more than 1,000,000 bytes"):
        load_rules(tmp_path / "r.yaml", environment=ON)


def test_an_interpreter_without_a_slot_is_allowed() -> None:
    assert parse_rules("allow: [{argv: [python3, /opt/ops/restart.py]}]", "r").rules
