"""Incident and deploy runbooks with durable approvals and an audit trail."""

__all__: list[str] = []
