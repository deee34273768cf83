from pathlib import Path

import pytest
from loom_ops._approvals.people import LOCAL_USER, Person, local_person, objection

ALICE, EVE = Person("alice", "cli", LOCAL_USER), Person("eve", "http", "token")
GROUPS = {"oncall": ("alice", "bob")}


@pytest.mark.parametrize(
    ("person", "policy", "requester", "expected"),
    [
        (ALICE, {"group": "oncall"}, "eve", None),
        (ALICE, {"group": "oncall", "not_requester": True}, "bob", None),
        (ALICE, {"group": "oncall", "not_requester": True}, "alice", "another person must approve"),
        (EVE, {"group": "oncall"}, "alice", "not in the group 'oncall'"),
        (ALICE, {"group": "dba"}, "bob", "nobody is in it"),
        (ALICE, {}, "alice", None),
        (EVE, {"group": "operators"}, "alice", "does not own ops.sqlite"),
    ],
)
def test_who_may_decide(
    tmp_path: Path, person: Person, policy: dict[str, object], requester: str, expected: str | None
) -> None:
    database = tmp_path / "ops.sqlite"
    database.write_text("")
    found = objection(person, {**policy, "requester": requester}, groups=GROUPS, database=database)
    assert found is None if expected is None else found is not None and expected in found


def test_environment_variables_do_not_change_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    before = local_person()
    for name in ("USER", "LOGNAME", "USERNAME", "SUDO_USER"):
        monkeypatch.setenv(name, "mallory")
    assert local_person() == before and before.name != "mallory"


def test_operators_is_only_the_owner_of_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = tmp_path / "ops.sqlite"
    person, policy = local_person(), {"group": "operators"}
    missing = objection(person, policy, groups={}, database=database)
    assert missing is not None and "does not own ops.sqlite" in missing
    database.write_text("")
    assert objection(person, policy, groups={}, database=database) is None
    owner = database.stat().st_uid
    monkeypatch.setattr("loom_ops._approvals.people.os.getuid", lambda: owner + 1)
    other = objection(local_person(), policy, groups={}, database=database)
    assert other is not None and "does not own ops.sqlite" in other


def test_configured_operators_are_only_the_listed_people(tmp_path: Path) -> None:
    database = tmp_path / "ops.sqlite"
    database.write_text("")
    person = local_person()
    groups = {"operators": ("alice",)}
    assert objection(ALICE, {"group": "operators"}, groups=groups, database=database) is None
    why = objection(person, {"group": "operators"}, groups=groups, database=database)
    assert why is not None and "is not in the group 'operators'" in why, "although they own the database"


def test_a_request_without_a_policy_is_for_the_operators(tmp_path: Path) -> None:
    assert objection(EVE, {}, groups={"operators": ("alice",)}, database=tmp_path / "x") is not None
    assert objection(ALICE, {}, groups={"operators": ("alice",)}, database=tmp_path / "x") is None
