"""Notifications: a signed webhook, and Apprise."""
