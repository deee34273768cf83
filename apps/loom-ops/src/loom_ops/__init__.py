"""Incident and deploy runbooks with durable approvals and an audit trail.

    loom-ops supervise "incident: API latency" --run-id inc-001 --mock-llm

The package is a command; nothing in it is meant to be imported. Its folders, from the bottom up:

* `_runbook`: a runbook as data, read from Markdown, judged, its inputs filled in.
* `_commands`: the allow rules, secrets, and starting a command. `_checks`: measuring something.
* `_audit`, `_memory`, `_notify`: the audit trail, facts from earlier runs, notifications.
* `_approvals`: who may decide about a step, and the service that decides.
* `_team`: planner, executor, verifier and supervisor, with their tools.
* `_incidents`: building and driving a run, for every interface.
* `_interfaces`, `_cli`: HTTP, Telegram, and the command line.
* `testing`: kills incidents at random points.

The single modules are what several folders need: errors, settings, the drill, the database of the
runs and the tables beside them, run ids, the clock.
"""

__all__: list[str] = []
