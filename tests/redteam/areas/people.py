"""Who may decide: names in the environment, the groups of the one who decides."""

from __future__ import annotations

from pathlib import Path

from tests.redteam.area import Area
from tests.redteam.site import command_ran, loom_ops, make_site

AREA = Area(
    "people",
    hole="""
replace('loom_ops._approvals.people', 'objection', lambda *words, **more: None)
replace('loom_ops._team.team', 'approval_verifier', lambda *words, **more: None)
""",
)


@AREA.attempt_each("approve with the environment", ["USER", "LOGNAME", "SUDO_USER"])
def _(folder: Path, variable: str) -> str | None:
    make_site(folder, group=["alice", "bob"], count=1)
    loom_ops(folder, "supervise", "fixit", "--runbook", "fix", "--run-id", "x", "--mock-llm")
    loom_ops(folder, "approve", "-r", "x", environment={variable: "alice"})
    loom_ops(folder, "resume", "-r", "x")
    return command_ran(folder)
