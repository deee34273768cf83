"""Incident and deploy runbooks with durable approvals and an audit trail.

This version only holds the place: nothing is offered yet. The README says what is coming.
"""

__all__: list[str] = []
