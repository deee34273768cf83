from pathlib import Path

import pytest
from loom_ops._errors import LoomOpsError
from loom_ops._site import load_site

GOOD = """
rules = "my.yaml"
[groups]
oncall = ["alice", "bob"]
[notify]
webhook = "https://hooks.test/x"
secret_env = "S"
[telegram]
chat = 5
people = {"7" = "alice"}
"""


def test_settings_are_read_and_paths_start_from_their_file(tmp_path: Path) -> None:
    (tmp_path / "loom-ops.toml").write_text(GOOD)
    site = load_site(tmp_path)
    assert site.rules == tmp_path / "my.yaml" and site.runbooks == tmp_path / "runbooks" and site.is_written
    assert (
        site.groups == {"oncall": ("alice", "bob")}
        and site.telegram_people == {"7": "alice"}
        and site.telegram_chat == 5
    )


def test_services_are_described_by_runbooks_and_inputs(tmp_path: Path) -> None:
    (tmp_path / "loom-ops.toml").write_text('[services.shop]\nrunbooks = ["a"]\ninputs = {url = "u"}\n[services.api]\n')
    services = load_site(tmp_path).services
    assert (services["shop"].runbooks, services["shop"].inputs) == (("a",), {"url": "u"})
    assert (services["api"].runbooks, services["api"].inputs) == (None, {})


def test_without_a_file_the_defaults_apply(tmp_path: Path) -> None:
    assert not load_site(tmp_path).is_written
    with pytest.raises(LoomOpsError, match="no such file"):
        load_site(tmp_path, tmp_path / "x.toml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rule = 1", "'rule' is not known"),
        ('[services.a]\nrunbook = "x"', "'services.a.runbook' is not known"),
        ('[services.a]\nrunbooks = "x"', "services.a.runbooks is not a list of names"),
        ("[services.a]\ninputs = {port = 80}", "services.a.inputs is not a table of texts"),
        ("rules = 1", "rules is not a text"),
        ("groups = 1", "groups is not a table"),
        ("[groups]\na = 'x'", "groups.a is not a list"),
        ("[groups]\na = []", "not a list of names"),
        ("[groups]\na = [1]", "not a list of names"),
        ("[notify]\nslack = 'x'", "'notify.slack' is not known"),
        ("[telegram]\nchat = true", "telegram.chat is not a whole number"),
        ("[telegram.people]\n1 = ['a']", "telegram.people.1 is not a name"),
        ("[groups]\na = ['bob', 'Bob']", "'Bob' and 'bob' look alike"),
        ("[groups]\na = ['bob']\n[telegram.people]\n1 = 'BOB'", "look alike"),
        ("[groups]\na = ['bob']\nb = ['bo\u200bb']", "not seen"),
        ("[groups]\na = ['bob ']", "not seen"),
        ("[groups]\na = ['jos\u00e9']\n[people.\"jose\u0301\"]\nos = ['j']", "look alike"),
        ("a = ", "Correct the line"),
    ],
)
def test_an_invalid_setting_is_reported_in_one_line(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "loom-ops.toml").write_text(text)
    with pytest.raises(LoomOpsError, match=expected) as caught:
        load_site(tmp_path)
    assert "\n" not in str(caught.value)
