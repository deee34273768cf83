"""Record which configuration the runs use: `config.changed`, when it differs from the last one.

The content names what changed and has the hash of each part: the allow rules, the trusted keys, and
each setting (`groups.oncall`). A hash is recorded and never the value, because settings name people
and addresses of services.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from loom_ops._audit.chain import AuditFact
from loom_ops._audit.trail import open_trail
from loom_ops._clock import now_iso

if TYPE_CHECKING:
    from pathlib import Path

    from loom_ops._site import Site

__all__ = ["KEYS_FILE", "config_hashes", "record_config"]

KEYS_FILE: Final = "loom-ops.keys.toml"
"""The public keys that a site trusts, beside its settings."""
_NOT_SETTINGS: Final = frozenset({"folder", "rules", "runbooks", "is_written"})
"""Paths, which are no rule; and the text of a runbook is recorded with each run."""


def record_config(database: Path, site: Site, *, run_id: str, actor: str) -> None:
    """Record the configuration that a run uses, if it is not the one that was recorded last.

    Args:
        actor: Who drives the run.

    Durability: it is on disk when this returns.
    """
    hashes = config_hashes(site)
    with open_trail(database) as trail:
        last = trail.newest("config.changed")
        before = _hashes(last.content) if last is not None else {}
        if before == hashes:
            return
        changed = sorted(name for name in before.keys() | hashes.keys() if before.get(name) != hashes.get(name))
        at = now_iso()
        content = {"changed": changed, "hashes": hashes, "first": last is None}
        trail.append([AuditFact(f"{run_id}/config/{at}", run_id, at, "config.changed", actor, content)])


def config_hashes(site: Site) -> dict[str, str]:
    """Return the hash of each part of the configuration, by its name."""
    parts: dict[str, Any] = {"rules": _content(site.rules), "keys": _content(site.folder / KEYS_FILE)}
    for each in fields(site):
        value = getattr(site, each.name)
        if each.name in _NOT_SETTINGS:
            continue
        if isinstance(value, Mapping):
            parts |= {f"{each.name}.{name}": value[name] for name in value}
        else:
            parts[each.name] = value
    return {name: _hash(value) for name, value in sorted(parts.items()) if value not in (None, (), "")}


def _content(file: Path) -> str | None:
    try:
        return sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None


def _hash(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _hashes(content: str) -> dict[str, str]:
    try:
        return dict(json.loads(content)["hashes"])
    except (ValueError, LookupError, TypeError):
        return {}
