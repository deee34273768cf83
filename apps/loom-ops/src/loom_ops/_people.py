"""Who somebody is, and whether they may decide about a step.

A person on the command line is the user of the operating system; over HTTP the subject of the token, or that user for
the token that the server made for them; on Telegram the name that the site maps the user id to. Nothing that a client
*says* about itself counts.

A group is a list of names in the settings. `operators`, which the starter runbooks name, may be left out of them:
then it is whoever owns the database, so that one person alone can work. Any other group that is not set is nobody.
"""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Person", "local_person", "objection"]

OPERATORS: Final = "operators"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who asks or decides.

    Args:
        via: The face that they came by: `cli`, `http` or `telegram`.
        verified_by: What says that it is them.
    """

    name: str
    via: str
    verified_by: str

    def __str__(self) -> str:
        return self.name


def local_person() -> Person:
    """Return the user of the operating system; environment variables are not asked."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:  # a container may run without an entry
        name = f"uid-{uid}"
    return Person(name, "cli", "local-uid")


def objection(
    person: Person, policy: Mapping[str, Any], *, requester: str, groups: Mapping[str, tuple[str, ...]], database: Path
) -> str | None:
    """Say why somebody may not decide; None when they may.

    Args:
        policy: `group` and `not_requester` of the approval.
        requester: Who asked for the run.
    """
    if policy.get("not_requester") and person.name == requester:
        return f"{person} asked for the run, and somebody else must approve it"
    group = str(policy.get("group", OPERATORS))
    if group in groups:
        return None if person.name in groups[group] else f"{person} is not in the group {group!r}"
    if group != OPERATORS:
        return f"the group {group!r} is not in the settings, so nobody is in it"
    if person.verified_by == "local-uid" and database.exists() and database.stat().st_uid == os.getuid():
        return None
    return f"the group {group!r} is not in the settings, and {person} does not own {database.name}"
