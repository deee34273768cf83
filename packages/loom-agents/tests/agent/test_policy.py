from pathlib import Path

import pytest
from loom_agents._agent.policy import Mode, Policy, Rule, named_paths
from loom_agents._errors import AgentError
from loom_agents._workspace.jail import Workspace

PATCH = "--- a/src/app.py\n+++ b/src/app.py\n@@ -1 +1 @@\n-a\n+b\n--- a/{0}\n+++ b/{0}\n@@ -1 +1 @@\n-a\n+b\n"


def _policy(workspace: Workspace, *rules: str, mode: Mode = "ask") -> Policy:
    parsed = [Rule.parse(how, rest) for how, rest in (rule.split(" ", 1) for rule in rules)]
    return Policy(workspace, mode, tuple(parsed))


@pytest.mark.parametrize(
    ("mode", "look", "edit", "tests", "commit", "marked"),
    [
        ("ask", "allow", "ask", "allow", "ask", "ask"),
        ("edits", "allow", "allow", "allow", "ask", "ask"),
        ("auto", "allow", "allow", "allow", "allow", "ask"),
        ("read-only", "allow", "deny", "deny", "deny", "deny"),
    ],
)
def test_a_mode_decides_about_all_calls(
    workspace: Workspace, mode: Mode, look: str, edit: str, tests: str, commit: str, marked: str
) -> None:
    policy = _policy(workspace, mode=mode)
    assert policy.decide("read_file", {"path": "x"}, read_only=True).how == look
    for tool in ("edit_file", "write_file", "apply_patch"):
        assert policy.decide(tool, {"path": "x"}).how == edit
    assert policy.decide("run_tests", {"path": "."}).how == tests
    assert policy.decide("git_commit", {"message": "x"}).how == commit
    assert policy.decide("server__tool", {}).how == commit
    assert policy.decide("server__tool", {}, read_only=True, marked=True).how == marked


def test_deny_overrides_ask_and_ask_overrides_allow_in_any_order(workspace: Workspace) -> None:
    rules = ("allow edit_file(src/**)", "deny edit_file(src/keep/**)", "ask edit_file(src/a.py)")
    for order in (rules, rules[::-1]):
        policy = _policy(workspace, *order)
        assert policy.decide("edit_file", {"path": "src/b.py"}).how == "allow"
        assert policy.decide("edit_file", {"path": "src/a.py"}).how == "ask"
        assert policy.decide("edit_file", {"path": "src/keep/x"}).how == "deny"
        assert policy.decide("edit_file", {"path": "src/b.py"}).reason == "the rule allow edit_file(src/**)"


@pytest.mark.parametrize(
    "path",
    ["docs/guide.md", "./docs/guide.md", "docs//guide.md", "DOCS/Guide.md", "{root}/docs/guide.md", "in/guide.md"],
)
def test_no_spelling_of_a_path_evades_a_deny(workspace: Workspace, path: str) -> None:
    (workspace.root / "in").symlink_to(workspace.root / "docs")
    for rule in ("deny edit_file(docs/**)", "deny edit_file(path=docs/**)", "deny *(docs/*)"):
        policy = _policy(workspace, "allow edit_file", rule)
        assert policy.decide("edit_file", {"path": path.format(root=workspace.root)}).how == "deny"
    assert policy.decide("edit_file", {"path": path.format(root=workspace.root)}).how == "deny"


@pytest.mark.parametrize(
    "path", ["src/../docs/guide.md", "src/link", "../src/app.py", "SRC/app.py", "/etc/src/x", "src"]
)
def test_a_path_needs_approval_unless_every_spelling_is_allowed(workspace: Workspace, path: str) -> None:
    (workspace.root / "src" / "link").symlink_to(workspace.root / "docs" / "guide.md")
    policy = _policy(workspace, "allow edit_file(src/*.py)", mode="ask")
    assert policy.decide("edit_file", {"path": path}).how == "ask"
    assert policy.decide("edit_file", {"path": "src/app.py"}).how == "allow"


def test_a_patch_is_allowed_when_all_its_files_are_and_denied_when_one_is(workspace: Workspace) -> None:
    policy = _policy(workspace, "allow apply_patch(src/**)", "deny apply_patch(docs/**)")
    assert policy.decide("apply_patch", {"patch": PATCH.format("src/b.py")}).how == "allow"
    assert policy.decide("apply_patch", {"patch": PATCH.format("other.py")}).how == "ask"
    assert policy.decide("apply_patch", {"patch": PATCH.format("docs/guide.md")}).how == "deny"
    assert policy.decide("apply_patch", {"patch": "no patch"}).how == "ask"
    assert policy.decide("apply_patch", {}).how == "ask"
    assert named_paths("apply_patch", {"patch": PATCH.format("x")}) == ["src/app.py", "x"]


def test_other_arguments_are_compared_as_json_or_one_by_name(workspace: Workspace) -> None:
    policy = _policy(
        workspace, "allow k8s__*(namespace=test-*)", 'deny *(*"force": true*)', "ask git_commit(*WIP*)", mode="auto"
    )
    assert policy.decide("k8s__apply", {"namespace": "test-1"}).how == "allow"
    assert policy.decide("k8s__apply", {"namespace": "test-1", "force": True}).how == "deny"
    assert policy.decide("git_commit", {"message": "wip: x"}).how == "ask"
    assert policy.decide("git_commit", {"message": "x"}).how == "allow"
    ask = _policy(workspace, "allow k8s__*(namespace=test-*)")
    assert ask.decide("k8s__apply", {"namespace": "prod test-1"}).how == "ask"
    assert ask.decide("k8s__apply", {"other": "test-1"}).how == "ask"
    assert ask.decide("k8s__apply", {"namespace": ["test-1"]}).how == "ask"


def test_a_rule_can_allow_one_tool_in_the_read_only_mode(workspace: Workspace) -> None:
    policy = _policy(workspace, "allow git_commit", mode="read-only")
    assert policy.decide("git_commit", {"message": "."}).how == "allow"
    assert policy.decide("git_commit_now", {"message": "."}).how == "deny"


@pytest.mark.parametrize("rule", ["allow run_tests", "allow *", "allow run_tests(**)"])
def test_no_rule_lets_a_workspace_execute_what_it_brought(workspace: Workspace, rule: str) -> None:
    call = ("run_tests", {"path": "."})
    assert _policy(workspace, rule, mode="read-only").decide(*call).how == "deny"
    parsed = (Rule.parse("allow", rule.removeprefix("allow ")),)
    for mode in ("ask", "edits", "auto"):
        assert Policy(workspace, mode, parsed, trust=lambda: "not trusted").decide(*call).how == "ask"
        assert Policy(workspace, mode, parsed, trust=lambda: None).decide(*call).how == "allow"


@pytest.mark.parametrize("text", ["", "edit_file(", "edit_file()", "a b", "(src)", "edit_file(src)x", "ed;it"])
def test_an_invalid_rule_is_refused(text: str) -> None:
    with pytest.raises(AgentError, match="neither TOOL nor"):
        Rule.parse("allow", text)


@pytest.mark.parametrize("text", ["edit_file", "edit_file(src/**)", "server__*", "t(a=b(c))", "*"])
def test_the_text_of_a_rule_is_the_text_it_was_parsed_from(text: str) -> None:
    assert str(Rule.parse("deny", text)) == text


STEERING = [
    *("conftest.py", "tests/conftest.py", "pyproject.toml", "Makefile", "package.json", "loom.toml", "loom-ops.toml"),
    *("ops.rules.yaml", "runbooks/fix.md", ".mcp.json", ".github/workflows/ci.yml", ".gitlab-ci.yml", ".envrc"),
    *(".vscode/tasks.json", ".idea/workspace.xml", ".gitattributes", ".gitmodules", ".gitconfig", ".bashrc"),
    *("AGENTS.md", "Claude.md", ".cursorrules", "sub/.github/copilot-instructions.md", "venv/bin/activate"),
    *("PYTEST.INI", "Jenkinsfile", "azure-pipelines.yml", "lib/evil.pth", ".pre-commit-config.yaml"),
    *("pytest.toml", "tox.toml", "tasks.py", "eslint.config.mjs", "vite.config.ts", "Taskfile.yml", "build.rs"),
    *("CMakeLists.txt", "Gemfile", "gradlew", "flake.nix", "opencode.json", "team.mcp.json", "ops.rules.toml"),
    *("requirements-dev.txt", "conftest\u200b.py", "con\u00adftest.py", "GEMINI.md", "x.service", "my-runbooks/a.md"),
]


@pytest.mark.parametrize("path", STEERING)
def test_in_the_mode_edits_a_file_that_steers_tools_is_asked_for(workspace: Workspace, path: str) -> None:
    policy = _policy(workspace, mode="edits")
    for tool in ("write_file", "edit_file"):
        assert policy.decide(tool, {"path": path}).how == "ask"
        assert policy.decide(tool, {"path": f"{workspace.root}/{path}"}).how == "ask"
    assert policy.decide("apply_patch", {"patch": PATCH.format(path)}).how == "ask"
    assert (
        _policy(workspace, f"allow write_file({path})", mode="edits").decide("write_file", {"path": path}).how
        == "allow"
    )


def test_a_link_to_a_file_that_steers_tools_is_asked_for(workspace: Workspace) -> None:
    (workspace.root / "plain.txt").symlink_to(workspace.root / "conftest.py")
    assert _policy(workspace, mode="edits").decide("write_file", {"path": "plain.txt"}).how == "ask"


@pytest.mark.parametrize(
    "path", ["src/app.py", "README.md", "tests/test_app.py", "docs/a.toml", ".gitignore", "runbook.md"]
)
def test_in_the_mode_edits_other_files_are_changed(workspace: Workspace, path: str) -> None:
    assert _policy(workspace, mode="edits").decide("write_file", {"path": path}).how == "allow"


def test_the_users_configuration_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    policy = _policy(Workspace.at(tmp_path), mode="edits")
    assert policy.decide("write_file", {"path": "settings/loom/x.txt"}).how == "ask"
    assert policy.decide("write_file", {"path": "other/loom/x.txt"}).how == "allow"


@pytest.mark.parametrize(("mode", "how"), [("ask", "ask"), ("edits", "ask"), ("auto", "ask"), ("read-only", "deny")])
def test_the_tests_of_a_workspace_that_is_not_trusted_need_approval(workspace: Workspace, mode: Mode, how: str) -> None:
    policy = Policy(workspace, mode, trust=lambda: "it would run conftest.py")
    assert policy.decide("run_tests", {}).how == how
    assert how == "deny" or policy.decide("run_tests", {}).reason == "it would run conftest.py"
    assert Policy(workspace, "ask", trust=lambda: None).decide("run_tests", {}).how == "allow"


def test_the_name_of_a_remote_tool_grants_nothing(workspace: Workspace) -> None:
    for tool in ("run_tests", "write_file", "rule-based-verifier__run_tests"):
        policy = Policy(workspace, "edits", remote=frozenset({tool}))
        assert policy.decide(tool, {"path": "x"}).how == "ask"
        assert Policy(workspace, "read-only", remote=frozenset({tool})).decide(tool, {"path": "x"}).how == "deny"


def test_a_tool_that_its_server_has_changed_is_asked_for_whatever_allows_it(workspace: Workspace) -> None:
    both = frozenset({"s__t"})
    for mode, how in (("auto", "ask"), ("ask", "ask"), ("read-only", "deny")):
        policy = Policy(workspace, mode, (Rule("allow", "s__*"),), remote=both, changed=both)
        assert policy.decide("s__t", {}, read_only=True).how == how
