"""Notify the site's people that a run waits for them or has ended.

A notification is for people: when it cannot be delivered, the failure is printed and nothing else
changes.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from loom_runner.cli_base import write_error
from loom_runner.run_ids import request_id

from loom_ops._errors import LoomOpsError
from loom_ops._notify.webhook import send_webhook
from loom_ops._runs import pending_approvals

if TYPE_CHECKING:
    from pathlib import Path

    from loom_runner import Runs

    from loom_ops._site import Site

__all__ = ["event_of", "notify"]


def notify(site: Site, database: Path, runs: Runs, run_id: str, head: str) -> None:
    """Send the status of a run to the site's webhook and through Apprise, if they are configured.

    Args:
        head: The audit head, as it is printed.
    """
    if site.webhook is None and not site.apprise:
        return
    event = event_of(runs, run_id, head, database)
    try:
        if site.webhook is not None:
            secret = None if site.webhook_secret_env is None else os.environ.get(site.webhook_secret_env)
            if site.webhook_secret_env is not None and not secret:
                raise LoomOpsError(f"cannot sign the notification: {site.webhook_secret_env} is not set.")
            asyncio.run(send_webhook(site.webhook, event, secret=secret))
        if site.apprise:
            _send_through_apprise(site.apprise, event)
    except LoomOpsError as exc:
        write_error(str(exc))


def event_of(runs: Runs, run_id: str, head: str, database: Path) -> dict[str, Any]:
    """Return what is sent: status of the run, approvals that it waits for, audit head."""
    run = runs.get(run_id)
    result = run["result"] or {}
    waiting = [
        {
            "id": request_id(row["run_id"], row["number"]),
            "step": row["policy"].get("step"),
            "argv": row["policy"].get("argv"),
            "reason": row["reason"],
            "until": row["expires_at"],
        }
        for row in pending_approvals(runs, run_id)
    ]
    kind = "approval.requested" if waiting else f"run.{run['status']}"
    event = {"event": kind, "run_id": run_id, "status": run["status"], "approvals": waiting, "audit_head": head}
    return event | {"outcome": result.get("outcome"), "why": result.get("why"), "database": database.name}


def _send_through_apprise(urls: tuple[str, ...], event: dict[str, Any]) -> None:
    try:
        import apprise
    except ImportError as exc:
        raise LoomOpsError("cannot notify through Apprise: it is not installed. Install loom-ops[notify].") from exc
    sender = apprise.Apprise()
    for url in urls:
        sender.add(url)
    body = "\n".join(f"{row['step']}: {row['reason']}" for row in event["approvals"]) or str(event["why"] or "")
    if not sender.notify(title=f"{event['run_id']}: {event['status']}", body=body):
        raise LoomOpsError("cannot notify through Apprise: a service refused it.")
