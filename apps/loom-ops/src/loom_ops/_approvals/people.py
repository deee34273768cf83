"""The identity of a person, and whether they may decide about a step.

A person on the command line is the user of the operating system; over HTTP the subject of the
token, or that user for the token that the server created for them; on Telegram the name that the
site maps the user id to. What a client states about itself is ignored.

A group is a list of names in the settings. `operators`, which the starter runbooks use, need not
be set: it then is the owner of the database, so that one person can work alone. Any other group
that is not set is empty.
"""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["LOCAL_USER", "Person", "local_person", "objection"]

OPERATORS: Final = "operators"
LOCAL_USER: Final = "local_user"
"""`Person.verified_by` of the user of the operating system."""


@dataclass(frozen=True, slots=True)
class Person:
    """A person who requests a run or decides.

    Args:
        via: The interface used: `cli`, `http` or `telegram`.
        verified_by: The proof of their identity.
    """

    name: str
    via: str
    verified_by: str

    def __str__(self) -> str:
        return self.name


def local_person(via: str = "cli") -> Person:
    """Return the user of the operating system; environment variables are ignored."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:  # a container may run without an entry
        name = f"uid-{uid}"
    return Person(name, via, LOCAL_USER)


def objection(
    person: Person, policy: Mapping[str, Any], *, groups: Mapping[str, tuple[str, ...]], database: Path
) -> str | None:
    """Return why a person may not approve; None when they may.

    Args:
        policy: `group`, `not_requester` and `requester`, as they were bound to the request.
        groups: The groups of the settings.
        database: Its owner is the group `operators` when the settings do not set that group.
    """
    if policy.get("not_requester") and person.name == str(policy.get("requester", "")):
        return f"{person} requested the run, and another person must approve it"
    group = str(policy.get("group", OPERATORS))
    if group in groups:
        return None if person.name in groups[group] else f"{person} is not in the group {group!r}"
    if group != OPERATORS:
        return f"the group {group!r} is not in the settings, so nobody is in it"
    if person.verified_by == LOCAL_USER and database.exists() and database.stat().st_uid == os.getuid():
        return None
    return f"the group {group!r} is not in the settings, and {person} does not own {database.name}"
