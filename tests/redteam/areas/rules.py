"""Allow rules: what a rule with a slot, a variable or a program that others can write lets
through.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, Final

from tests.redteam.area import Area

AREA = Area(
    "rules",
    hole="""
replace('loom_ops._commands.slot_values', 'is_plain', lambda value, may: True)
replace('loom_ops._commands.slot_values', 'too_wide', lambda pattern, may: None)
replace('loom_ops._commands.programs', 'is_interpreter', lambda program: False)
replace('loom_ops._commands.programs', 'executes_its_words', lambda program: False)
""",
)


def accepted(argv: list[str], params: dict[str, Any], env: Any = None, **more: Any) -> str | None:
    """Return what rules with this rule allow; None when they are refused."""
    from loom_ops._commands.rules_file import parse_rules
    from loom_ops._errors import RulesError

    rule = {"argv": argv, "params": params, **more} | ({} if env is None else {"env": env})
    try:
        parse_rules(json.dumps({"allow": [rule]}), "r")
    except RulesError:
        return None
    return f"accepted: {json.dumps(rule)}"


PROGRAMS: Final = (
    "sh bash env xargs sudo git sed awk tar rsync ssh find flock setpriv unshare systemd-run strace vim less man docker "
    "kubectl helm ansible-playbook java deno npx uv cargo Rscript /lib64/ld-linux-x86-64.so.2 socat m4 sqlite3 crontab "
    "at bwrap expect tmux perl5.36 php8.2 busybox /usr/bin/time nohup SH Python3 python3-dbg ipython make curl an-unknown"
).split()


@AREA.attempt_each("any value for", PROGRAMS)
def _(folder: Path, program: str) -> str | None:
    for pattern in (".*", ".+", r"\S+", "[^ ]*", "(?s:.)*", "[^x]+", "x?.*"):
        if found := accepted([program, "{x}"], {"x": pattern}):
            return found
    return None


@AREA.attempt_each("any word for", [name for name in PROGRAMS if name != "an-unknown"])
def _(folder: Path, program: str) -> str | None:
    return accepted([program, "{x}"], {"x": "[a-z]+"})


VARIABLES: Final = (
    "LD_PRELOAD LD_LIBRARY_PATH PATH PYTHONPATH PERL5OPT RUBYOPT NODE_OPTIONS GIT_SSH_COMMAND GIT_DIR BASH_ENV ENV IFS "
    "EDITOR PAGER VISUAL LESSOPEN LESS BROWSER JAVA_TOOL_OPTIONS _JAVA_OPTIONS JDK_JAVA_OPTIONS CLASSPATH GCONV_PATH "
    "LOCPATH GLIBC_TUNABLES SHELLOPTS BASHOPTS PS4 PROMPT_COMMAND ZDOTDIR CDPATH HOME XDG_CONFIG_HOME KUBECONFIG "
    "DOCKER_HOST MAKEFLAGS RSYNC_RSH SSH_ASKPASS SSH_AUTH_SOCK OPENSSL_CONF CURL_HOME WGETRC npm_config_script_shell "
    "LUA_INIT PHPRC PHP_INI_SCAN_DIR TMPDIR AWS_CONFIG_FILE HTTPS_PROXY https_proxy SSL_CERT_FILE SUDO_ASKPASS TERMINFO "
    "R_PROFILE_USER DOTNET_STARTUP_HOOKS COR_PROFILER DYLD_INSERT_LIBRARIES ld_preload HELM_PLUGINS KUBECTL_EXTERNAL_DIFF "
    "TF_CLI_CONFIG_FILE ANSIBLE_CONFIG AN_UNKNOWN_SETTING GIT_CONFIG_COUNT"
).split()


@AREA.attempt_each("a variable from elsewhere", VARIABLES)
def _(folder: Path, name: str) -> str | None:
    return accepted(["x"], {}, [name])


@AREA.attempt_each(
    "a program", ["./x", "../x", "a/b", "-x", " x", "x ", "{p}", "/", "//bin/sh", "/bin/../bin/sh", "x\ty", ""]
)
def _(folder: Path, program: str) -> str | None:
    return accepted([program], {"p": ".*"} if "{p}" in program else {})


@AREA.attempt("a link to a shell, with a slot")
def _(folder: Path) -> str | None:
    (folder / "tool").symlink_to("/bin/sh")
    return accepted([str(folder / "tool"), "{x}"], {"x": "a|b"})


VALUES: Final = [
    "-rf", "--help", "a b", "a/b", "/bin/sh", "..", ".", "../x", "a;id", "a|id", "$(id)", "`id`", "a&id", "a>b", "a<b",
    "a\nid", "a\tid", "a\x00b", "a=b", "@file", "+!id", "~", "a*", "a?", "[a]", "{a}", "a!", "a'b", 'a"b', "a\\b", "#a",
    "аpi", "a\u202eb", "a\u200bb", "a\ufeff", "e\u0301", "\U000e0069", "id", "sh", "env", "reboot-me",
]  # fmt: skip


@AREA.attempt_each("a value", [(ascii(value), value) for value in VALUES])
def _(folder: Path, case: tuple[str, str]) -> str | None:
    """The pattern lets everything with 12 to 20 characters through that no example shows."""
    from loom_ops._commands.rules_file import parse_rules
    from loom_ops._errors import CommandDeniedError, RulesError

    (folder / "bin").mkdir()
    for name in ("tool", "reboot-me"):
        (folder / "bin" / name).write_text("#!/bin/sh\n")
        (folder / "bin" / name).chmod(0o755)
    for pattern in (r"(?:[^q]|qq).*|.", "[^-].{0,}z?", r"(?!aaaa|0|A|1\.2)[^\d]*.?"):
        text = json.dumps({"path": [str(folder / "bin"), "/usr/bin", "/bin"], "allow": [
            {"argv": ["tool", "{x}"], "params": {"x": pattern}}]})  # fmt: skip
        try:
            rules = parse_rules(text, "r")
        except RulesError:
            continue
        try:
            return f"allowed: {rules.check(['tool', case[1]], 'write', 1)}"
        except CommandDeniedError:
            continue
    narrow = {"path": [str(folder / "bin"), "/usr/bin", "/bin"], "allow": [
        {"argv": ["tool", "{x}"], "params": {"x": "[a-z-]+"}}]}  # fmt: skip
    try:
        return f"allowed: {parse_rules(json.dumps(narrow), 'r').check(['tool', case[1]], 'write', 1)}"
    except CommandDeniedError:
        return None


@AREA.attempt_each("a program that others can write", ["file", "folder", "owner"])
def _(folder: Path, how: str) -> str | None:
    from loom_ops._commands.rules_file import parse_rules
    from loom_ops._errors import CommandDeniedError

    programs = folder / "bin"
    programs.mkdir()
    (programs / "tool").write_text("#!/bin/sh\n")
    (programs / "tool").chmod(0o755)
    rules = parse_rules(json.dumps({"path": [str(programs)], "allow": [{"argv": ["tool"]}]}), "r")
    rules.check(["tool"], "write", 1)
    if how == "file":
        (programs / "tool").chmod(0o777)
    elif how == "folder":
        programs.chmod(0o777)
    elif os.geteuid() == 0:
        os.chown(programs / "tool", 65_534, 65_534)
    else:
        return None
    try:
        return f"allowed: {rules.check(['tool'], 'write', 1)}"
    except CommandDeniedError:
        return None


@AREA.attempt("a script in the working folder, by its name")
def _(folder: Path) -> str | None:
    from loom_ops._commands.rules_file import parse_rules
    from loom_ops._commands.run import run_command
    from loom_ops._commands.secrets import Vault
    from loom_ops._errors import CommandDeniedError

    (folder / "deploy").write_text(f"touch {folder}/ran\n")
    rules = parse_rules("allow: [{argv: [cat, '{x}'], params: {x: '[a-z]+'}}]", "r")
    work = run_command(
        ["cat", "deploy"], rules=rules, effect="write", timeout_s=5, workspace=folder, vault=Vault({}, folder)
    )
    try:
        return f"ran: {asyncio.run(work)}"
    except CommandDeniedError:
        return None


SERVERS: Final[dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {  # members of .mcp.json, and of the rule
    "without a rule": ({"args": ["-c", "open('ran', 'w')"]}, {}),
    "by a rule for something that writes": ({}, {"effect": "write"}),
    "with a variable of its own": ({"env": {"PYTHONSTARTUP": "server.py", "LD_PRELOAD": "x.so"}}, {}),
    "with its own word for reading": ({"loom": {"tools": {"allow": ["t"]}}}, {}),
    "by a name in the working folder": ({"command": "./server.py"}, {}),
}


@AREA.attempt_each("a program of .mcp.json for a check", list(SERVERS))
def _(folder: Path, case: str) -> str | None:
    from loom_ops._checks.run import run_check
    from loom_ops._commands.context import ExecutionContext
    from loom_ops._commands.rules_file import parse_rules
    from loom_ops._commands.secrets import Vault
    from loom_ops._runbook.model import Check

    entry, rule = SERVERS[case]
    script = folder / "server.py"
    script.write_text(f"#!{sys.executable}\nopen({str(folder / 'ran')!r}, 'w')\n")
    script.chmod(0o755)
    server = {"command": sys.executable, "args": [str(script)], "loom": {"effect": "read"}} | entry
    (folder / ".mcp.json").write_text(json.dumps({"mcpServers": {"s": server}}))
    rules = parse_rules(json.dumps({"allow": [{"argv": [sys.executable, str(script)], "effect": "read"} | rule]}), "r")
    context = ExecutionContext(folder, rules, Vault({}, folder), mcp_file=folder / ".mcp.json")
    check = Check("c", 1, "", "mcp", {"server": "s", "tool": "t", "result": {"a": 1}}, None)
    found = asyncio.run(run_check(check, context))
    return f"started: {found.evidence}" if (folder / "ran").exists() or found.ok else None


@AREA.attempt("the usual rules are still accepted")
def _(folder: Path) -> str | None:
    usual: list[tuple[list[str], dict[str, Any], Any]] = [
        (["systemctl", "restart", "{svc}"], {"svc": "api|web"}, None),
        (
            ["kubectl", "rollout", "undo", "deployment/{service}"],
            {"service": "api|web"},
            {"KUBECONFIG": "/etc/ops/kube"},
        ),
        (
            ["kubectl", "scale", "deployment/{service}", "--replicas={n}"],
            {"service": "api|web", "n": "[0-9]{1,2}"},
            None,
        ),
        (["deploy", "{version}"], {"version": r"v[0-9]+\.[0-9]+"}, ["DEPLOY_TOKEN"]),
        (["restart-service", "{service}"], {"service": "[a-z][a-z0-9-]{0,40}"}, None),
        (["tail", "-n", "100", "{file}"], {"file": {"pattern": "/var/log/[a-z]+", "may": ["path"]}}, None),
    ]
    refused = [argv for argv, params, env in usual if accepted(argv, params, env) is None]
    meant = accepted(["ssh", "web1", "{x}"], {"x": "restart|status"}, unsafe="a forced command on web1")
    return f"refused: {refused}" if refused or meant is None else None
