"""Incident and deploy runbooks with durable approvals and an audit trail.

    loom-ops supervise "incident: API latency" --run-id inc-001 --mock-llm

The package is a command; nothing in it is meant to be imported. How it is made, from the bottom up:

* `_runbook`, `_parse`, `_lint`, `_render`: a runbook as data, from Markdown, judged, filled in.
* `_rules`, `_command`, `_checks`, `_secrets`: what may be done to the world, and doing it.
* `_states`, `_planner`, `_executor`, `_verifier`, `_supervisor`, `_tools`, `_team`: the four programs of a team.
* `_audit`, `_audited`, `_memory`, `_postmortem`, `_notify`: what stays.
* `_site`, `_people`, `_deciding`: whose site it is, and who may decide.
* `_cli`, `_cli_kept`, `_cli_faces`, `_options`, `_work`, `_standing`, `_story` and the rest: the command.
* `testing` kills it at random points.
"""

__all__: list[str] = []
