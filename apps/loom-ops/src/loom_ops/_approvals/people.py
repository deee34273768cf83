"""Who a person is, and whether they may decide about a step.

Each interface proves an identity: `os:alice@host` for the user of the operating system,
`token:alice` for the subject of a token, `telegram:123` for a user of Telegram. What a client
states about itself is ignored. `People.person` resolves an identity to the person whom the settings
map it to:

    [people.alice]
    os = ["alice", "al@other-host"]
    token = ["alice"]
    telegram = [123]

An identity that is not mapped is the person of its own name, so that a token `bob` and a user `bob`
are one person: one human is not counted twice, and a small site needs no mapping. Once the settings
describe a person, only the identities that are listed are this person: another user or token of the
name is a person of its own, named by the identity, and no member of a group. A number of Telegram
that is not mapped is nobody's name.

Groups, counts and four eyes compare people. All of it is bound to a request when it is created:
whoever decides later supplies nothing but the identity that was proven.

A group is a list of people in the settings. `operators`, which the starter runbooks use, need not
be set: it then is the owner of the database, so that one person can work alone. Any other group
that is not set is empty.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from loom_runner.cli_base import local_user

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from loom_ops._site import Site

__all__ = ["People", "Person", "bound_person", "group_members", "local_identity", "local_person", "objection"]

OPERATORS: Final = "operators"


@dataclass(frozen=True, slots=True)
class Person:
    """A person who requests a run or decides.

    Args:
        name: The person, as groups name them.
        identity: What was proven: `os:alice@host`, `token:alice`, `telegram:123`.
        via: The interface used: `cli`, `http` or `telegram`.
    """

    name: str
    identity: str
    via: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class People:
    """The people whom the settings describe.

    Args:
        identities: The person of each identity that is mapped.
        described: The people who are only the identities that are listed.
    """

    identities: Mapping[str, str] = field(default_factory=dict)
    described: frozenset[str] = frozenset()

    @classmethod
    def of(cls, site: Site) -> Self:
        """Return the people of a site."""
        identities = {f"telegram:{number}": name for number, name in site.telegram_people.items()}
        identities |= {each: name for name, listed in site.people.items() for each in listed}
        return cls(identities, frozenset(site.people))

    @classmethod
    def of_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `as_json` returned."""
        return cls(dict(data["identities"]), frozenset(data["described"]))

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON, which is bound to each request."""
        return {"identities": dict(sorted(self.identities.items())), "described": sorted(self.described)}

    def person(self, identity: str, via: str) -> Person:
        """Return the person of an identity that an interface has proven."""
        kind, _, own = identity.partition(":")
        if kind == "os":
            own = own.rpartition("@")[0] or own
        name = self.identities.get(identity) or self.identities.get(f"{kind}:{own}")
        if name is None:
            is_own_name = kind != "telegram" and ":" not in own and own not in self.described
            name = own if is_own_name else identity
        return Person(name, identity, via)


def local_identity(uid: int | None = None) -> str:
    """Return the identity of the user of this process, or of a uid; the environment is ignored."""
    return f"os:{local_user(uid)}@{socket.gethostname()}"


def local_person(site: Site, via: str = "cli") -> Person:
    """Return the user of this process as a person of a site."""
    return People.of(site).person(local_identity(), via)


def group_members(group: str, groups: Mapping[str, tuple[str, ...]], people: People, database: Path) -> list[str]:
    """Return the people of a group.

    Args:
        database: Its owner is the group `operators` when the settings do not set that group.
    """
    if group in groups:
        return sorted(set(groups[group]))
    if group == OPERATORS and database.exists():
        return [people.person(local_identity(database.stat().st_uid), "cli").name]
    return []


def bound_person(person: Person, policy: Mapping[str, Any]) -> Person:
    """Return who a person is by the settings that were bound to a request."""
    if "people" not in policy:
        return person
    return People.of_json(policy["people"]).person(person.identity, person.via)


def objection(person: Person, policy: Mapping[str, Any]) -> str | None:
    """Return why a person may not approve; None when they may.

    Args:
        policy: What was bound to the request when it was created.
    """
    if "members" not in policy:
        return "its request has no bound policy, because an earlier version wrote it: deny it, and start the run again"
    person = bound_person(person, policy)
    is_requester = person.name == policy["requester"] or person.identity == policy["requester_identity"]
    if policy["not_requester"] and is_requester:
        return f"{person} requested the run, and another person must approve it"
    if person.name in policy["members"]:
        return None
    group = policy["group"]
    if not policy["members"]:
        return f"nobody was in the group {group!r} when it was requested"
    return f"{person} is not in the group {group!r}"
