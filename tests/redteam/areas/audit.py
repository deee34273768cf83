"""The audit trail: every change of an entry, or of a row that an entry speaks of, is named."""

from __future__ import annotations

import functools
import json
import shutil
import tempfile
from pathlib import Path
from typing import Final

import apsw
from loom_ops._audit.chain import CHAIN_START, AuditEntry
from loom_runner.cli_base import local_user

from tests.redteam.area import Area
from tests.redteam.in_process import change, loom_ops_here
from tests.redteam.site import make_site

AREA = Area(
    "audit",
    hole="replace('loom_ops._audit.compare', '_Tree.compare', lambda *words, **more: None)",
)

UNLOCK: Final = "DROP TRIGGER audit_is_not_changed; DROP TRIGGER audit_is_not_cut;"
LOCK: Final = """
    CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
        BEGIN SELECT raise(ABORT, 'the audit trail is append-only'); END;
    CREATE TRIGGER audit_is_not_cut BEFORE DELETE ON audit
        BEGIN SELECT raise(ABORT, 'the audit trail is append-only'); END;
"""
ROWS: Final = {
    "decision of another": 'UPDATE approvals SET decisions = replace(decisions, \'"by": "\', \'"by": "m\')',
    "time of a decision": "UPDATE approvals SET decisions = replace(decisions, '\"at\": 1', '\"at\": 2')",
    "tool": "UPDATE tool_calls SET name = 'x' WHERE name = 'run_command'",
    "requester": 'UPDATE runs SET input = replace(input, \'"requester":"\', \'"requester":"z\')',
    "runbook": "UPDATE runs SET input = replace(input, 'helps', 'kills')",
    "arguments": "UPDATE tool_calls SET arguments = replace(arguments, 'api', 'web') WHERE name = 'run_command'",
    "result": "UPDATE tool_calls SET result = replace(result, 'done', 'failed') WHERE name = 'run_command'",
    "exit code": "UPDATE tool_calls SET result = replace(result, '0', '1') WHERE name = 'run_command'",
    "start": "UPDATE tool_calls SET started_at = started_at - 1 WHERE name = 'run_command'",
    "end": "UPDATE tool_calls SET ended_at = ended_at + 1 WHERE name = 'run_command'",
    "call status": "UPDATE tool_calls SET status = 'failed' WHERE name = 'run_command'",
    "call in doubt": "UPDATE tool_calls SET status = 'in_doubt' WHERE name = 'run_command'",
    "resolved by": "UPDATE tool_calls SET decided_by = 'bob' WHERE name = 'run_command'",
    "call deleted": "DELETE FROM tool_calls WHERE name = 'run_command'",
    "call twice": """INSERT INTO tool_calls (run_key, ordinal, step_index, key, name, status, started_at, ended_at,
        fence, arguments_hash, arguments, result) SELECT run_key, 99, 7, 'k', name, status, started_at, ended_at,
        fence, arguments_hash, arguments, result FROM tool_calls WHERE name = 'run_command'""",
    "needed": "UPDATE approvals SET needed = 1 - needed",
    "reason": "UPDATE approvals SET reason = 'x'",
    "group": "UPDATE approvals SET policy = replace(policy, 'oncall', 'all')",
    "policy": "UPDATE approvals SET policy = replace(policy, 'deny', 'allow')",
    "request hash": "UPDATE approvals SET arguments_hash = '00'",
    "request arguments": "UPDATE approvals SET arguments = replace(arguments, 'api', 'web')",
    "requested at": "UPDATE approvals SET requested_at = requested_at - 5",
    "expires at": "UPDATE approvals SET expires_at = expires_at + 5",
    "request pending": "UPDATE approvals SET status = 'pending'",
    "request denied": "UPDATE approvals SET status = 'denied'",
    "request expired": "UPDATE approvals SET status = 'expired'",
    "request deleted": "DELETE FROM approvals",
    "run failed": "UPDATE runs SET status = 'failed' WHERE run_id = 'x'",
    "run ended at": "UPDATE runs SET updated_at = updated_at + 1 WHERE run_id = 'x'",
    "run outcome": "UPDATE runs SET result = replace(result, '\"done\"', '\"denied\"') WHERE run_id = 'x'",
    "run renamed": "UPDATE runs SET run_id = 'y' WHERE run_id = 'x'",
    "run deleted": "DELETE FROM runs WHERE run_id = 'x'",
    "runs deleted": "DELETE FROM approvals; DELETE FROM tool_calls; DELETE FROM runs",
    "program": "UPDATE runs SET program = 'x' WHERE run_id = 'x'",
    "decisions no JSON": "UPDATE approvals SET decisions = '{['",
    "decisions of another form": "UPDATE approvals SET decisions = '[1]'",
    "decisions BLOB": "UPDATE approvals SET decisions = x'00ff00'",
    "policy a list": "UPDATE approvals SET policy = '[]'",
    "time a text": "UPDATE approvals SET requested_at = 'never'",
    "time huge": "UPDATE tool_calls SET started_at = 9223372036854775807",
    "input deep": "UPDATE runs SET input = replace(hex(zeroblob(100000)), '00', '[') WHERE run_id = 'x'",
    "input null": "UPDATE runs SET input = 'null' WHERE run_id = 'x'",
    "result a number": "UPDATE runs SET result = '5' WHERE run_id = 'x'",
}
ENTRIES: Final = {
    **{
        f"{name} of an entry": f"UPDATE audit SET {name} = {value} WHERE number = 5"
        for name, value in {
            "source": "'zz'",
            "run_id": "'zz'",
            "at": "'2020'",
            "kind": "'zz'",
            "actor": "'zz'",
            "content": "'{}'",
            "previous": "'00'",
            "hash": "'00'",
        }.items()
    },
    "content a BLOB": "UPDATE audit SET content = CAST(content AS BLOB) WHERE number = 5",
    "content not UTF-8": "UPDATE audit SET content = CAST(x'fffe' AS TEXT) WHERE number = 5",
    "content with a space": "UPDATE audit SET content = content || ' ' WHERE number = 5",
    "content with NUL": "UPDATE audit SET content = content || char(0) || 'x' WHERE number = 5",
    "content deep": "UPDATE audit SET content = replace(hex(zeroblob(100000)), '00', '[') WHERE number = 5",
    "number in actor": "UPDATE audit SET actor = 5 WHERE number = 5",
    "terminal control": "UPDATE audit SET kind = char(27) || '[2J' WHERE number = 5",
    "entry deleted": "DELETE FROM audit WHERE number = 5",
    "first deleted": "DELETE FROM audit WHERE number = 1",
    "newest deleted": "DELETE FROM audit WHERE number > 9",
    "all deleted": "DELETE FROM audit",
    "swapped": """UPDATE audit SET number = 100 WHERE number = 5; UPDATE audit SET number = 5 WHERE number = 6;
        UPDATE audit SET number = 6 WHERE number = 100""",
    "in front": "INSERT INTO audit SELECT 0, 's0', run_id, at, kind, actor, content, previous, hash FROM audit LIMIT 1",
    "negative": "INSERT INTO audit SELECT -5, 's0', run_id, at, kind, actor, content, previous, hash FROM audit LIMIT 1",
    "copied to the end": """INSERT INTO audit SELECT max(number) + 1, 's9', run_id, at, kind, actor, content, hash, hash
        FROM audit""",
}
TABLES: Final = {
    "view": "ALTER TABLE audit RENAME TO o; CREATE VIEW audit AS SELECT * FROM o WHERE number <= 9",
    "empty view": "DROP TABLE audit; CREATE VIEW audit AS SELECT 1 AS number",
    "dropped": "DROP TABLE audit",
    "extra column": "ALTER TABLE audit ADD COLUMN x TEXT DEFAULT 'y'",
    "columns exchanged": """ALTER TABLE audit RENAME TO o; CREATE TABLE audit AS SELECT number, source, run_id, at,
        actor kind, kind actor, content, previous, hash FROM o""",
    "column missing": "ALTER TABLE audit RENAME TO o; CREATE TABLE audit AS SELECT number, source FROM o",
    "text numbers": """ALTER TABLE audit RENAME TO o; CREATE TABLE audit AS SELECT 'n' || number AS number, source,
        run_id, at, kind, actor, content, previous, hash FROM o""",
    "triggers dropped": UNLOCK,
    "trigger added": "CREATE TRIGGER more AFTER INSERT ON audit BEGIN SELECT 1; END",
}


@functools.cache
def _base(count: int = 1) -> Path:
    """Build a site with one run that waits (two people) or has ended (one person)."""
    folder = make_site(Path(tempfile.mkdtemp(prefix="loom-audit-")) / "site", group=[local_user(), "bob"], count=count)
    loom_ops_here(folder, "supervise", "fixit", "--runbook", "fix", "-r", "x", "--mock-llm")
    if count == 1:
        loom_ops_here(folder, "approve", "-r", "x")
        loom_ops_here(folder, "resume", "-r", "x")
    code, text = loom_ops_here(folder, "audit", "verify")
    assert code == 0, text
    return folder


def _copy(folder: Path, count: int = 1) -> Path:
    shutil.copytree(_base(count), folder / "site")
    return folder / "site"


def _accepted(site: Path, *names: str) -> str | None:
    """Return what is wrong with the verification of a trail that was changed."""
    code, text = loom_ops_here(site, "audit", "verify")
    if code == 0:
        return f"accepted: {text.strip()[:200]}"
    if "Traceback" in text or "internal error" in text or "\x1b" in text:
        return f"not one line: {text.strip()[-300:]!r}"
    if len(text.splitlines()) > 60:
        return f"{len(text.splitlines())} lines"
    missing = [name for name in names if name not in text]
    return f"{missing} is not named: {text.strip()[:300]}" if missing else None


@AREA.attempt_each("change a row", ROWS)
def _(folder: Path, name: str) -> str | None:
    site = _copy(folder)
    change(site, ROWS[name])
    return _accepted(site, "entry" if "twice" not in name else "not in the trail")


@AREA.attempt_each("change an entry", ENTRIES)
def _(folder: Path, name: str) -> str | None:
    site = _copy(folder)
    change(site, UNLOCK + ENTRIES[name] + ";" + LOCK)
    return _accepted(site, "5" if "number = 5" in ENTRIES[name] else "")


@AREA.attempt_each("change the table", TABLES)
def _(folder: Path, name: str) -> str | None:
    site = _copy(folder)
    change(site, TABLES[name])
    return _accepted(site, "audit")


def _rehash(site: Path) -> None:
    db = apsw.Connection(str(site / "ops.sqlite"))
    previous = CHAIN_START
    for number, row in enumerate(list(db.execute("SELECT * FROM audit ORDER BY number")), 1):
        entry = AuditEntry(number, *row[1:7], previous, "")
        values = (number, previous, entry.expected_hash, row[0])
        db.execute("UPDATE audit SET number = ?, previous = ?, hash = ? WHERE number = ?", values)
        previous = entry.expected_hash
    db.close()


@AREA.attempt_each("recompute the chain", ["with heads", "without heads"])
def _(folder: Path, heads: str) -> str | None:
    site = _copy(folder)
    change(site, UNLOCK + "UPDATE audit SET actor = 'mallory' WHERE kind = 'approval.decided'")
    _rehash(site)
    change(site, LOCK)
    if heads == "without heads":
        (site / "ops.sqlite.audit-heads").unlink()
    return _accepted(site, "approval.decided")


@AREA.attempt_each("recompute the chain without", ["approval.decided", "command.started", "command.ended", "run.asked"])
def _(folder: Path, kind: str) -> str | None:
    site = _copy(folder)
    change(site, UNLOCK + f"DELETE FROM audit WHERE kind = '{kind}'")
    _rehash(site)
    change(site, LOCK)
    (site / "ops.sqlite.audit-heads").unlink()
    return _accepted(site, kind)


@AREA.attempt("bring the chain of another database")
def _(folder: Path) -> str | None:
    site = _copy(folder)
    other = make_site(folder / "other", group=["bob"])
    loom_ops_here(other, "supervise", "fixit", "--runbook", "fix", "-r", "x", "--mock-llm")
    attach = (
        f"ATTACH '{other / 'ops.sqlite'}' AS other; DELETE FROM audit; INSERT INTO audit SELECT * FROM other.audit;"
    )
    change(site, UNLOCK + attach + LOCK)
    (site / "ops.sqlite.audit-heads").unlink()
    return _accepted(site, "foreign")


@AREA.attempt("delete a refusal")
def _(folder: Path) -> str | None:
    site = make_site(folder / "site", group=["bob"])
    loom_ops_here(site, "supervise", "fixit", "--runbook", "fix", "-r", "x", "--mock-llm")
    loom_ops_here(site, "approve", "-r", "x")
    refused = [line for line in loom_ops_here(site, "audit", "export")[1].splitlines() if "approval.refused" in line]
    if not refused:
        return "a refusal is not recorded"
    change(site, UNLOCK + f"DELETE FROM audit WHERE number >= {json.loads(refused[0])['number']};" + LOCK)
    return _accepted(site, "ends at entry")


@AREA.attempt_each("change the heads", ["no line", "another hash", "not UTF-8", "a link"])
def _(folder: Path, how: str) -> str | None:
    site = _copy(folder)
    file = site / "ops.sqlite.audit-heads"
    text = file.read_text()
    if how == "a link":
        file.rename(site / "elsewhere")
        file.symlink_to(site / "elsewhere")
    elif how == "not UTF-8":
        file.write_bytes(b"\xff\xfe\n")
    else:
        file.write_text("" if how == "no line" else text.replace("a", "b"))
    return _accepted(site, "audit-heads" if how != "another hash" else "printed")


@AREA.attempt("forge an approval by SQL")
def _(folder: Path) -> str | None:
    site = _copy(folder, 2)
    decisions = [{"by": by, "how": "approve", "at": 1, "via": "cli", "note": ""} for by in ("alice", "bob")]
    change(site, f"UPDATE approvals SET status = 'approved', decided = 2, decisions = '{json.dumps(decisions)}'")
    return _accepted(site, "approval.decided")
