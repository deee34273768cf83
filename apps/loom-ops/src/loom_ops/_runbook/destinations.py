"""The destinations of secrets: the hosts and programs that each secret of a runbook may be sent to.

A secret may name them (`hosts: [...]`, `commands: [...]`). Where it does not, they are those that
the runbook itself writes next to the secret: the host in the URL of a check, the program of a
command. A host that comes from an input is none of them, because the requester chooses it; only its
default, which the runbook writes, counts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from loom_ops._runbook.model import Check, Run
from loom_ops._runbook.template import SECRET, SLOT, fill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loom_ops._runbook.model import Runbook, SecretSource

__all__ = ["host_of", "inputs_in_host", "secrets_in", "with_destinations"]


def with_destinations(runbook: Runbook) -> dict[str, SecretSource]:
    """Return the secrets of a runbook, each with its hosts and programs."""
    hosts: dict[str, set[str]] = {}
    commands: dict[str, set[str]] = {}
    defaults = {name: given.default for name, given in runbook.inputs.items() if given.default is not None}
    for step in runbook.steps:
        if isinstance(step, Check):
            url = fill(str(step.options.get("url", "")), defaults)
            host = "" if inputs_in_host(url) else host_of(url)
            for name in secrets_in(step.options.get("headers")) if host else ():
                hosts.setdefault(name, set()).add(host)
        elif isinstance(step, Run) and step.argv:
            for name in secrets_in(dict(step.environment)):
                commands.setdefault(name, set()).add(step.argv[0])
    return {
        name: replace(
            source,
            hosts=tuple(sorted(hosts.get(name, ()))) if source.hosts is None else source.hosts,
            commands=tuple(sorted(commands.get(name, ()))) if source.commands is None else source.commands,
        )
        for name, source in runbook.secrets.items()
    }


def host_of(url: str) -> str:
    """Return host and port of a URL, in lower case; empty when it has none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    host = (parts.hostname or "").lower()
    return f"{host}:{port}" if host and port is not None else host


def inputs_in_host(url: str) -> list[str]:
    """Return the inputs that decide to which host a URL leads: those before its path."""
    start = url.partition("://")[2] or url
    slots = list(SLOT.finditer(url))
    if not slots:
        return []
    end = len(url) - len(start) + min((at for mark in "/?#" if (at := start.find(mark)) >= 0), default=len(start))
    return [slot[1] for slot in slots if slot.start() < end]


def secrets_in(value: Any) -> Iterator[str]:
    """Yield the names of the secrets in every text of a structure."""
    if isinstance(value, str):
        yield from SECRET.findall(value)
    elif isinstance(value, list):
        for part in value:
            yield from secrets_in(part)
    elif isinstance(value, dict):
        for part in value.values():
            yield from secrets_in(part)
