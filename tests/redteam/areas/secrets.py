"""Secrets of known patterns in what commands print, people write and files hold, in every
product.
"""

from __future__ import annotations

import base64
import json
import re
import runpy
import sqlite3
import sys
import zlib
from pathlib import Path

from tests.redteam.area import Area
from tests.redteam.site import loom, loom_ops, make_site

AREA = Area(
    "secrets",
    hole="""
replace('loom_agents.redaction', 'redact_text', lambda text: text)
replace('loom_agents.redaction', 'redact', lambda value: value)
replace('flow_xray._redaction.redact_text', 'redact_text', lambda text, redactor, mask: text)
""",
)
_CORPUS = Path(__file__).parents[3] / "packages/flow-xray/tests/redaction/corpus"
_SECRETS = {
    "aws": "AK" + "IA" + "QWERTYUIOPASDF77",
    "github": "gh" + "p_" + "a1B2" * 9,
    "jwt": "ey" + "JhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0." + "abcDEF123456789",
    "url": "pgpass99word",
    "stripe": "sk" + "_live_" + "Zz9" * 8,
    "password": "hunter2" + "hunter2",
}
_TEXT = (
    "key={aws}\ntoken {github}\nAuthorization: Bearer {jwt}\n{stripe} failed\npostgres://app:{url}@db/p\n"
    "password: {password}\n"
).format(**_SECRETS)


def _found(folder: Path, printed: str) -> str | None:
    for database in folder.rglob("*.sqlite"):
        with sqlite3.connect(database) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    texts = {"stdout": printed}
    for path in folder.rglob("*"):
        if path.is_file() and path.name not in {"config.txt", "good"} and ".git" not in path.parts:
            content = path.read_bytes()
            texts[path.name] = content.decode("latin-1") + "".join(
                zlib.decompress(base64.b64decode(block), 31).decode("utf-8", "replace")
                for block in re.findall(rb'octet-stream" id="[^"]+">([^<]*)<', content)
            )
    leaks = [f"{name} in {place}" for place, text in texts.items() for name, s in _SECRETS.items() if s in text]
    return ", ".join(leaks) or None


@AREA.attempt("what a command of loom-ops prints, an incident, a note")
def _(folder: Path) -> str | None:
    import getpass

    make_site(folder, group=[getpass.getuser()], count=1)
    (folder / "bin/good").write_text(f"#!/bin/sh\ncat <<'END'\n{_TEXT}END\nexit 3\n")
    printed = ""
    for words in (
        ["supervise", f"fixit with {_SECRETS['github']}", "--runbook", "fix", "--run-id", "x", "--mock-llm"],
        ["approve", "-r", "x", "--note", f"the token is {_SECRETS['stripe']}"],
        ["resume", "-r", "x", "--trace", "t.html"],
        ["explain", "-r", "x"],
        ["audit", "export"],
    ):
        ran = loom_ops(folder, *words)
        printed += ran.stdout + ran.stderr
    return _found(folder, printed)


@AREA.attempt("a file that loom-run reads, a message to it")
def _(folder: Path) -> str | None:
    (folder / "config.txt").write_text(_TEXT)
    calls = [{"name": "read_file", "arguments": {"path": "config.txt"}}]
    calls.append({"name": "grep", "arguments": {"pattern": "token|key"}})
    script = {"format": "loom-script/1", "replies": [{"tool_calls": calls}, {"text": "done"}]}
    (folder / "s.json").write_text(json.dumps(script))
    message = f"my key is {_SECRETS['github']}"
    options = ["--mock-llm=s.json", "--trace", "t.html", "--record", "r.json", "--output", "jsonl"]
    ran = loom(folder, "loom_run", "chat", message, "--run-id", "a", *options)
    if ran.returncode:
        return f"the attempt itself failed: {ran.stderr[-300:]}"
    return _found(folder, ran.stdout + ran.stderr)


@AREA.attempt("what the model says, in pieces, in its calls, in the names of files and of tools")
def _(folder: Path) -> str | None:
    aws, github, stripe = (_SECRETS[name] for name in ("aws", "github", "stripe"))
    write = {"path": "o.txt", "text": f"aws_access_key_id={aws}\ntoken={github}"}
    calls = [
        {"name": "list_files", "arguments": {}},
        {"name": "grep", "arguments": {"pattern": github}},
        {"name": "read_file", "arguments": {"path": f"no-{stripe}"}},
        {"name": "write_file", "arguments": write},
        {"name": f"ask_{stripe}", "arguments": {stripe: github}},
    ]
    replies = [{"text": f"I use {aws}\u00e9", "tool_calls": calls}, {"text": f"\u00e9{github}, x_{stripe} {_TEXT}"}]
    (folder / "config.txt").write_text(json.dumps({"format": "loom-script/1", "replies": replies}))
    (folder / f"{github}.md").write_text("x")
    options = ["--mode", "auto", "--trace", "t.html", "--record", "r.json", "--output", "jsonl"]
    ran = loom(folder, "loom_run", "chat", "hi", "--run-id", "a", "--mock-llm=config.txt", *options)
    printed = ran.stdout + ran.stderr
    for words in (["show", "a"], ["export", "a"], ["explain", "a"]):
        shown = loom(folder, "loom_run", *words)
        printed += shown.stdout + shown.stderr
    return _found(folder, printed)


@AREA.attempt("secrets of 95 kinds in a text")
def _(folder: Path) -> str | None:
    from flow_xray.redaction import Redactor

    found = runpy.run_path(str(_CORPUS / "positive.py"))["positive"]()
    missed = [kind for kind, text, secret in found if secret in Redactor().text(text)]
    lines = (_CORPUS / "innocent.txt").read_text().splitlines()
    masked = [line for line in lines if Redactor().text(line) != line]
    if "--as-child" not in sys.argv or "all" in sys.argv:
        print(f"    recall {len(found) - len(missed)} of {len(found)} kinds, ", end="", file=sys.stderr)
        print(f"precision: {len(masked)} of {len(lines)} innocent lines masked", file=sys.stderr, flush=True)
    if len(missed) > len(found) * 5 // 95:
        return f"{len(missed)} kinds: {', '.join(missed)[:200]}"
    return f"innocent lines are masked: {masked}" if len(masked) > len(lines) * 2 // 70 else None


@AREA.attempt("a secret after 600 others")
def _(folder: Path) -> str | None:
    from flow_xray import trace

    with trace.capture() as session:
        with trace.span("a", input=[{"token": f"filler-{n:04}-x"} for n in range(600)]):
            pass
        with trace.span("b", input={"password": "real-Secret-77"}):
            pass
        with trace.span("c", input="connecting with real-Secret-77 failed"):
            pass
    return "it is recorded" if "real-Secret-77" in session.result().to_json() else None


@AREA.attempt("files that others can read")
def _(folder: Path) -> str | None:
    import os

    from flow_xray import TraceStore, trace

    before = os.umask(0)
    try:
        with trace.capture(journal=folder / "j.xray") as session:
            pass
        session.result().to_html(folder / "p.html")
        with TraceStore(folder / "store").capture():
            pass
    finally:
        os.umask(before)
    loose = [path.name for path in folder.rglob("*") if path.stat().st_mode & 0o077]
    return f"others can read {', '.join(loose)}" if loose else None
