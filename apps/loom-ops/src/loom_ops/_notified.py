"""Tell the site's people that a run waits for them or has ended; what cannot be delivered is said, and nothing more."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from loom_runner.cli_base import write_error

from loom_ops._errors import LoomOpsError
from loom_ops._notify import send_webhook

if TYPE_CHECKING:
    from pathlib import Path

    from loom_runner import AgentRunner

    from loom_ops._site import Site

__all__ = ["event_of", "notify"]


def event_of(rows: AgentRunner, run_id: str, head: str, database: Path) -> dict[str, Any]:
    """Return what others are told: how the run stands, what waits, and the audit head."""
    run = rows.get(run_id)
    result = run["result"] or {}
    waiting = [
        {
            "id": f"{row['run_id']}#{row['number']}",
            "step": row["policy"].get("step"),
            "argv": row["policy"].get("argv"),
            "reason": row["reason"],
            "until": row["expires_at"],
        }
        for row in rows.approvals(pending_only=True)
        if row["run_id"].startswith(f"{run_id}:sub:") or row["run_id"] == run_id
    ]
    kind = "approval.requested" if waiting else f"run.{run['status']}"
    about = {"event": kind, "run_id": run_id, "status": run["status"], "approvals": waiting, "audit_head": head}
    return about | {"outcome": result.get("outcome"), "why": result.get("why"), "database": database.name}


def notify(site: Site, database: Path, rows: AgentRunner, run_id: str, head: str) -> None:
    """Send the event to the site's webhook and to Apprise, as far as they are set."""
    if site.webhook is None and not site.apprise:
        return
    event = event_of(rows, run_id, head, database)
    try:
        if site.webhook is not None:
            secret = None if site.webhook_secret_env is None else os.environ.get(site.webhook_secret_env)
            if site.webhook_secret_env is not None and not secret:
                raise LoomOpsError(f"cannot sign the notification: {site.webhook_secret_env} is not set.")
            asyncio.run(send_webhook(site.webhook, event, secret=secret))
        if site.apprise:
            _apprise(site.apprise, event)
    except LoomOpsError as exc:
        write_error(str(exc))


def _apprise(urls: tuple[str, ...], event: dict[str, Any]) -> None:
    try:
        import apprise
    except ImportError as exc:
        raise LoomOpsError("cannot notify through Apprise: it is not installed. Install loom-ops[notify].") from exc
    sender = apprise.Apprise()
    for url in urls:
        sender.add(url)
    body = "\n".join(f"{row['step']}: {row['reason']}" for row in event["approvals"]) or str(event["why"] or "")
    if not sender.notify(title=f"{event['run_id']}: {event['status']}", body=body):
        raise LoomOpsError("cannot notify through Apprise: a service did not take it.")
