"""A run does what was requested: no fork, changed state, input or id does something else; and what
only reports writes nothing.
"""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path

from loom_runner import RunnerError, Runs, SQLiteStore
from loom_runner._control.fork import fork_run
from loom_runner.cli_base import local_user

from tests.redteam.area import Area
from tests.redteam.areas.approvals import decide, resumed, sql, waiting
from tests.redteam.in_process import change, loom_ops_here
from tests.redteam.site import command_ran, make_site

AREA = Area(
    "requested",
    hole="""
replace('loom_ops._incidents.requests', '_check_requested', lambda *words: None)
replace('loom_ops._approvals.verification', '_objection_to_step', lambda *words: None)
""",
)

_ONE = "'count: 2', 'count: 1'"
_FORGET = "DELETE FROM approvals; DROP TRIGGER audit_is_not_cut; DELETE FROM audit WHERE kind = 'approval.requested'"

_WAKE = "UPDATE runs SET ready_at = 0 WHERE run_id = 'x:sub:executor'"


def _approved_by_one(site: Path, run_id: str = "x") -> str | None:
    """Resume a run, let alice alone approve, and resume it again; return what ran."""
    for _ in range(2):
        try:
            loom_ops_here(site, "resume", "-r", run_id)
            decide(site, "token:alice")
            resumed(site)
        except RunnerError:
            continue
        loom_ops_here(site, "approve", "-r", run_id)
        loom_ops_here(site, "resume", "-r", run_id)
    return command_ran(site)


@AREA.attempt_each("a fork", [("of a run", "x", "y"), ("that poses as a rollback", "x", "y:rollback")])
def _(folder: Path, case: tuple[str, str, str]) -> str | None:
    site = waiting(folder / "s", group=["alice", "bob", local_user()])
    text = (site / "runbooks/fix.md").read_text().replace("count: 2", "count: 1")
    with SQLiteStore(site / "ops.sqlite") as store:
        asyncio.run(fork_run(store, case[1], 0, new_run_id=case[2], patch={"request": {"text": text}}))
    return _approved_by_one(site, case[2])


@AREA.attempt("a fork in the name of who requested the original")
def _(folder: Path) -> str | None:
    site = waiting(folder / "s", group=[local_user()], count=1, not_requester=True)
    with SQLiteStore(site / "ops.sqlite") as store:
        asyncio.run(fork_run(store, "x", 0, new_run_id="y"))
    return _approved_by_one(site, "y")


@AREA.attempt_each(
    "another policy in", [("the state", "state"), ("the input", "input"), ("state and input", "state input")]
)
def _(folder: Path, case: tuple[str, str]) -> str | None:
    site = waiting(folder / "s")
    change(site, _FORGET)
    for column in case[1].split():
        sql(site, f"UPDATE runs SET {column} = replace({column}, {_ONE})")
    sql(site, _WAKE)
    return _approved_by_one(site)


@AREA.attempt("another policy in the input of a child that is resumed alone")
def _(folder: Path) -> str | None:
    site = waiting(folder / "s", group=["alice", "bob", local_user()])
    change(site, _FORGET)
    sql(site, f"UPDATE runs SET state = replace(state, {_ONE}), input = replace(input, {_ONE})")
    sql(site, "UPDATE runs SET input = replace(input, 'count: 1', 'count: 2') WHERE run_id = 'x'")
    sql(site, _WAKE)
    return _approved_by_one(site, "x:sub:executor")


@AREA.attempt("a step by hand with another text in the state")
def _(folder: Path) -> str | None:
    site = make_site(folder / "s", group=[local_user()])
    policy = "{default: {group: oncall, count: 1}}"
    (site / "runbooks/fix.md").write_text(f"---\nmatch: [fixit]\napprovals: {policy}\n---\n1. Wipe it.\n")
    loom_ops_here(site, "supervise", "fixit", "--runbook", "fix", "-r", "x", "--mock-llm")
    change(site, _FORGET)
    sql(site, "UPDATE runs SET state = replace(state, 'Wipe it', 'Do nothing')")
    sql(site, _WAKE)
    loom_ops_here(site, "resume", "-r", "x")
    loom_ops_here(site, "approve", "-r", "x")
    loom_ops_here(site, "resume", "-r", "x")
    with SQLiteStore(site / "ops.sqlite") as store:
        calls = Runs(store).tool_calls("x:sub:executor")
    return "done by hand" if any(call["name"] == "do_by_hand" for call in calls) else None


@AREA.attempt_each("the folder of a drill is", [".", ".."])
def _(folder: Path, run_id: str) -> str | None:
    site = folder / "s"
    site.mkdir()
    (site / "program.py").write_text("mine")
    loom_ops_here(site, "supervise", "incident: API latency", "-r", run_id, "--mock-llm", "--drill")
    outside = (site / "program.py").read_text() != "mine" or (site / "bin").exists()
    return "files outside of the drill's folder" if outside else None


@AREA.attempt_each("two spellings of one person", ["Bob", "bob\u200b", "ｂob"])
def _(folder: Path, other: str) -> str | None:
    site = make_site(folder / "s", group=["bob", other])
    code, text = loom_ops_here(site, "supervise", "fixit", "--runbook", "fix", "-r", "x", "--mock-llm")
    return None if code == 2 and "cannot read" in text else f"exit {code}: {text[-200:]}"


@AREA.attempt("a postmortem is written through a link, or for others to read")
def _(folder: Path) -> str | None:
    site = make_site(folder / "s", group=[local_user()], count=1)
    (folder / "mine").write_text("mine")
    (site / "postmortems").mkdir()
    (site / "postmortems/x.md").symlink_to(folder / "mine")
    loom_ops_here(site, "supervise", "fixit", "--runbook", "fix", "-r", "x", "--mock-llm")
    loom_ops_here(site, "deny", "-r", "x")
    loom_ops_here(site, "resume", "-r", "x")
    mode = stat.S_IMODE((site / "postmortems/x.md").lstat().st_mode)
    return f"mode {mode:o}" if (folder / "mine").read_text() != "mine" or mode != 0o600 else None


@AREA.attempt("rules that cannot be used are not named")
def _(folder: Path) -> str | None:
    site = make_site(folder / "s", group=[local_user()], count=1)
    (site / "ops.rules.yaml").chmod(0o666)
    _, text = loom_ops_here(site, "supervise", "fixit", "--runbook", "fix", "-r", "x", "--mock-llm")
    return None if "others can write" in text else text[-300:]


_REPORTS = (
    ("audit", "verify"),
    ("audit", "head"),
    ("audit", "export"),
    ("memory", "list"),
    ("memory", "list", "--all"),
    ("doctor",),
    ("approvals",),
    ("runs",),
    ("explain", "-r", "x"),
)


@AREA.attempt("a report writes to a database of somebody else")
def _(folder: Path) -> str | None:
    site = waiting(folder / "s")
    made_by = json.dumps([4711, "eve"])
    change(
        site,
        f"UPDATE about SET value = '{made_by}' WHERE name = 'made_by';"
        f"UPDATE about SET value = '{'ab' * 16}' WHERE name = 'database_id';"
        "DROP TABLE memory_search; DROP TABLE memory; DELETE FROM side_tables WHERE name = 'memory'",
    )
    before = (site / "ops.sqlite").read_bytes()
    for words in _REPORTS:
        code, text = loom_ops_here(site, *words)
        if (site / "ops.sqlite").read_bytes() != before:
            return f"{words} wrote to it"
        if code not in (0, 1) or "Traceback" in text:
            return f"{words}: exit {code}: {text[-300:]}"
    return None
