"""Incident and deploy runbooks with durable approvals and an audit trail.

    loom-ops supervise "incident: API latency" --run-id inc-001 --mock-llm

The package is a command; other programs import `loom_ops.api`. Its folders, from the bottom up:

* `_runbook`: a runbook as data: parsed from Markdown, linted, its inputs filled in.
* `_commands`: the allow rules, secrets, and starting a command. `_checks`: measurements.
* `_audit`, `_memory`, `_notify`: the audit trail, facts from earlier runs, notifications.
* `_approvals`: who may decide about a step, and the service that decides.
* `_team`: planner, executor, verifier and supervisor, with their tools.
* `_incidents`: building and driving a run, for every interface.
* `_interfaces`, `_cli`: HTTP, Telegram, and the command line.
* `testing`: kills incidents at random points.

The single modules are used by several folders: errors, settings, the drill, the database of the
runs and the tables in it, run ids, the clock.
"""

__all__: list[str] = []
