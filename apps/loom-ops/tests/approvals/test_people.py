import socket
from pathlib import Path
from typing import Any

import pytest
from loom_ops._approvals.people import (
    People,
    Person,
    bound_person,
    group_members,
    local_identity,
    local_person,
    objection,
)
from loom_ops._errors import LoomOpsError
from loom_ops._site import Site, load_site


def site_of(folder: Path, text: str) -> Site:
    (folder / "loom-ops.toml").write_text(text)
    return load_site(folder)


MAPPED = """
[people.alice]
os = ["alice", "al@other"]
token = ["ci-alice"]
telegram = [7]

[telegram]
people = {"8" = "bob"}
"""


@pytest.mark.parametrize(
    ("identity", "name"),
    [
        ("os:alice@here", "alice"),
        ("os:al@other", "alice"),
        ("os:al@here", "al"),
        ("token:ci-alice", "alice"),
        ("telegram:7", "alice"),
        ("telegram:8", "bob"),
        ("os:bob@here", "bob"),
        ("token:bob", "bob"),
        ("token:alice", "token:alice"),  # alice is described, and this token is not hers
        ("telegram:9", "telegram:9"),
        ("token:os:alice", "token:os:alice"),
    ],
)
def test_an_identity_is_resolved_to_one_person(tmp_path: Path, identity: str, name: str) -> None:
    people = People.of(site_of(tmp_path, MAPPED))
    assert people.person(identity, "cli") == Person(name, identity, "cli")
    assert People.of_json(people.as_json()) == people


def test_without_a_description_equal_names_are_one_person(tmp_path: Path) -> None:
    people = People.of(site_of(tmp_path, ""))
    assert {people.person(f"{kind}:carol", "cli").name for kind in ("os", "token")} == {"carol"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[people.a]\nos = 'a'", "people.a.os is not a list of identities"),
        ("[people.a]\ntelegram = ['7']", "people.a.telegram is not a list"),
        ("[people.a]\nsms = ['7']", "people.a.sms is not a list"),
        ("[people]\na = ['a']", "people.a is not a table"),
        ("[people.a]\nos = ['x']\n[people.b]\nos = ['x']", "os:x is a and b"),
        ("[people.a]\ntelegram = [7]\n[telegram]\npeople = {'7' = 'b'}", "telegram:7 is b and a"),
    ],
)
def test_a_wrong_description_of_people_is_reported(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(LoomOpsError, match=problem):
        site_of(tmp_path, text)


def bound(**more: Any) -> dict[str, Any]:
    return {
        "group": "oncall",
        "members": ["alice", "bob"],
        "not_requester": False,
        "requester": "alice",
        "requester_identity": "token:alice",
        "people": {"identities": {"telegram:7": "alice"}, "described": []},
        **more,
    }


@pytest.mark.parametrize(
    ("identity", "policy", "expected"),
    [
        ("os:alice@h", {}, None),
        ("telegram:7", {}, None),
        ("os:eve@h", {}, "eve is not in the group 'oncall'"),
        ("os:alice@h", {"not_requester": True}, "alice requested the run, and another person must approve it"),
        ("telegram:7", {"not_requester": True}, "alice requested the run"),
        ("token:alice", {"not_requester": True, "requester": "other"}, "requested the run"),
        ("os:bob@h", {"not_requester": True}, None),
        ("os:alice@h", {"members": []}, "nobody was in the group 'oncall' when it was requested"),
    ],
)
def test_who_may_approve_follows_from_the_bound_policy(
    identity: str, policy: dict[str, Any], expected: str | None
) -> None:
    person = Person("whatever the interface says", identity, "cli")
    found = objection(person, bound(**policy))
    assert found is None if expected is None else found is not None and expected in found


def test_the_settings_of_the_one_who_decides_change_nothing(tmp_path: Path) -> None:
    mine = site_of(tmp_path, '[people.bob]\nos = ["eve"]\n')
    posing = People.of(mine).person("os:eve@h", "cli")
    assert posing.name == "bob" and bound_person(posing, bound()).name == "eve"
    assert "eve is not in the group" in str(objection(posing, bound()))


def test_a_request_without_a_bound_policy_is_not_approved() -> None:
    person = Person("alice", "os:alice@h", "cli")
    assert "has no bound policy" in str(objection(person, {"group": "oncall", "requester": "bob"}))


def test_environment_variables_do_not_change_the_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = site_of(tmp_path, "")
    before = local_person(site)
    for name in ("USER", "LOGNAME", "USERNAME", "SUDO_USER", "LNAME"):
        monkeypatch.setenv(name, "mallory")
    assert local_person(site) == before and before.name != "mallory"
    assert before.identity == local_identity() == f"os:{before.name}@{socket.gethostname()}"


def test_operators_is_the_owner_of_the_database_unless_it_is_set(tmp_path: Path) -> None:
    database, site = tmp_path / "ops.sqlite", site_of(tmp_path, "")
    assert group_members("operators", {}, People(), database) == []
    database.write_text("")
    assert group_members("operators", {}, People(), database) == [local_person(site).name]
    assert group_members("operators", {"operators": ("bob", "alice", "bob")}, People(), database) == ["alice", "bob"]
    assert group_members("dba", {}, People(), database) == []
