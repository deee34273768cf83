"""Signed decisions: without the private key of a person, nobody decides in their name."""

from __future__ import annotations

import asyncio
import functools
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from loom_ops._approvals.decisions import DecisionService
from loom_ops._approvals.people import Person
from loom_ops._approvals.signatures import _named
from loom_ops._audit.approval_facts import approval_facts
from loom_ops._audit.decision_signatures import sign_decision
from loom_ops._audit.public_keys import public_text
from loom_ops._audit.trail import append_facts, open_trail
from loom_ops._audit.trusted_keys import trust_key
from loom_ops._errors import LoomOpsError
from loom_ops._site import load_site
from loom_runner import LocalEngine, SQLiteStore
from loom_runner.authority import Authority
from loom_runner.cli_base import local_user

from tests.redteam.area import Area
from tests.redteam.in_process import change, loom_ops_here
from tests.redteam.site import command_ran, make_site

AREA = Area(
    "signatures",
    hole="replace('loom_ops._approvals.signatures', 'objection_to_signature', lambda *words, **more: None)",
)

REQUIRED: Final = '[approvals]\nsign = "required"\n'
REQUEST: Final = {"run_id": "x:sub:executor", "number": 1}


@functools.cache
def _base() -> Path:
    """Build a site whose run waits for a signed approval of this user, who has a trusted key."""
    folder = Path(tempfile.mkdtemp(prefix="loom-signatures-")) / "site"
    make_site(folder, group=[local_user(), "bob"], count=1, settings=REQUIRED)
    public = loom_ops_here(folder, "keys", "new")[1].splitlines()[0]
    loom_ops_here(folder, "keys", "trust", local_user(), public)
    loom_ops_here(folder, "supervise", "fixit", "--runbook", "fix", "-r", "x", "--mock-llm")
    return folder


def _copy(folder: Path) -> Path:
    """Copy the site; its programs write into the copy."""
    site = folder / "site"
    shutil.copytree(_base(), site)
    shutil.copytree(_base().parent / "site-home", folder / "site-home")
    return site


def _resumed(site: Path) -> str | None:
    """Resume the run; return what ran, or how the refusal was not one."""
    ran = _base() / "ran.txt"
    ran.unlink(missing_ok=True)
    code, text = loom_ops_here(site, "resume", "-r", "x", "--output", "text")
    if (through := command_ran(_base())) is not None:
        ran.unlink()
        return through
    return None if code != 0 and "Traceback" not in text else f"exit {code}: {text[-300:]}"


def _forge(site: Path, by: str, sign: Callable[[Mapping[str, Any]], str] | None = None) -> None:
    """Approve with the functions of the library, as a program of the same user can."""
    with open_trail(site / "ops.sqlite"):
        pass
    with SQLiteStore(site / "ops.sqlite") as store:
        authority = Authority("loom-ops", lambda db, after: append_facts(db, approval_facts(after)), sign)
        asyncio.run(LocalEngine(store).decide(**REQUEST, how="approve", by=by, via="cli", authority=authority))


def _signer(key: Ed25519PrivateKey, **other: Any) -> Callable[[Mapping[str, Any]], str]:
    return lambda parts: sign_decision(key, **_named({**parts, **other}))


@AREA.attempt_each("approve without a signature as", ["me", "bob"])
def _(folder: Path, who: str) -> str | None:
    site = _copy(folder)
    _forge(site, local_user() if who == "me" else who)
    return _resumed(site)


@AREA.attempt("sign with a key that is not trusted")
def _(folder: Path) -> str | None:
    site = _copy(folder)
    _forge(site, local_user(), _signer(Ed25519PrivateKey.generate()))
    return _resumed(site)


@AREA.attempt("sign with the trusted key of another person")
def _(folder: Path) -> str | None:
    site, key = _copy(folder), Ed25519PrivateKey.generate()
    trust_key(site, "carol", public_text(key.public_key()))
    _forge(site, "bob", _signer(key))
    return _resumed(site)


@AREA.attempt_each(
    "sign another decision",
    [("run", {"run_id": "y"}), ("number", {"number": 2}), ("hash", {"of": "0" * 64}), ("verdict", {"how": "deny"})],
)
def _(folder: Path, case: tuple[str, dict[str, Any]]) -> str | None:
    site, key = _copy(folder), Ed25519PrivateKey.generate()
    trust_key(site, "bob", public_text(key.public_key()))
    _forge(site, "bob", _signer(key, **case[1]))
    return _resumed(site)


@AREA.attempt_each("take the signature off", ["the row", "the policy", "the policy and the hash"])
def _(folder: Path, where: str) -> str | None:
    site = _copy(folder)
    if where == "the row":
        code, text = loom_ops_here(site, "approve", "-r", "x")
        assert code == 0, text
        change(site, 'UPDATE approvals SET decisions = replace(decisions, \'"signature": "\', \'"signature": "A\')')
        return _resumed(site)
    change(site, 'UPDATE approvals SET policy = replace(policy, \'"sign": "required"\', \'"sign": "off"\')')
    if where == "the policy and the hash":
        change(site, "DROP TRIGGER audit_is_not_cut; DELETE FROM audit WHERE kind = 'approval.requested'")
    _forge(site, local_user())
    return _resumed(site)


@AREA.attempt("use what a revoked key has signed")
def _(folder: Path) -> str | None:
    site = _copy(folder)
    _, text = loom_ops_here(site, "approve", "-r", "x")
    [row] = json.loads(loom_ops_here(site, "keys", "list", "--output", "json")[1])
    assert loom_ops_here(site, "keys", "revoke", row["public"][:8])[0] == 0, text
    return _resumed(site)


@AREA.attempt("approve with a key that the site does not trust")
def _(folder: Path) -> str | None:
    site = _copy(folder)
    (site / "loom-ops.keys.toml").unlink()
    code, text = loom_ops_here(site, "approve", "-r", "x")
    return None if code != 0 and "does not trust" in text else f"exit {code}: {text[-300:]}"


@AREA.attempt("trust keys that others can write")
def _(folder: Path) -> str | None:
    site = _copy(folder)
    loom_ops_here(site, "approve", "-r", "x")
    (site / "loom-ops.keys.toml").chmod(0o666)
    return _resumed(site)


@AREA.attempt("approve on another interface")
def _(folder: Path) -> str | None:
    site = _copy(folder)
    with SQLiteStore(site / "ops.sqlite") as store:
        service = DecisionService(LocalEngine(store), load_site(site), site / "ops.sqlite")
        request = service.find("approve", "x", None)
        for via in ("http", "telegram"):
            try:
                asyncio.run(service.decide(request, "approve", Person("bob", "token:bob", via)))
            except LoomOpsError as exc:
                if "loom-ops approve" not in str(exc):
                    return f"the command is not named: {exc}"
            else:
                return f"approved through {via}"
    return None


@AREA.attempt_each("change a signature afterwards", ["another", "none"])
def _(folder: Path, how: str) -> str | None:
    site = _copy(folder)
    loom_ops_here(site, "approve", "-r", "x")
    code, text = loom_ops_here(site, "resume", "-r", "x")
    assert code == 0 and command_ran(_base()), f"a signed approval is not used: {text[-500:]}"
    assert loom_ops_here(site, "audit", "verify")[0] == 0
    new = 'replace({0}, \'"signature": "\', \'"signature": "A\')' if how == "another" else "'[]'"
    change(site, f"UPDATE approvals SET decisions = {new.format('decisions')}")
    code, text = loom_ops_here(site, "audit", "verify")
    is_named = "is signed with a key" in text if how == "another" else "approval.decided" in text
    return None if code == 1 and is_named else f"exit {code}: {text[-300:]}"
