"""A secret goes only where its runbook writes it."""

from pathlib import Path

import pytest
from loom_ops._commands.secrets import Vault
from loom_ops._errors import LoomOpsError
from loom_ops._runbook.destinations import host_of, inputs_in_host, with_destinations
from loom_ops._runbook.inputs import input_values
from loom_ops._runbook.parse import parse_runbook
from loom_ops._runbook.template import fill

RUNBOOK = """---
title: Look
inputs: {{host: {{default: api.example.org}}}}
secrets: {{t: {{env: T{more}}}}}
---
```check id=c
kind: http
url: "{url}"
headers: {{A: "{{secret.t}}"}}
```
```run id=a timeout=1s undo=none
argv: [kubectl, get]
env: {{A: "{{secret.t}}"}}
```
"""


def vault(tmp_path: Path, url: str, more: str = "") -> Vault:
    runbook, problems = parse_runbook(RUNBOOK.format(url=url, more=more), "b.md")
    assert runbook is not None, problems
    return Vault(with_destinations(runbook), tmp_path, {"T": "hunter2"})


@pytest.mark.parametrize(
    ("url", "more", "host", "is_allowed"),
    [
        ("https://api.example.org/x", "", "api.example.org", True),
        ("https://api.example.org/x", "", "api.example.org:8443", True),
        ("https://api.example.org:8443/x", "", "api.example.org:8443", True),
        ("https://api.example.org:8443/x", "", "api.example.org", False),
        ("https://api.example.org/x", "", "evil.example", False),
        ("https://{host}/x", "", "api.example.org", True),
        ("https://{host}/x", "", "evil.example", False),
        ("https://evil.example/x", ", hosts: [API.example.org]", "api.example.org", True),
        ("https://evil.example/x", ", hosts: [API.example.org]", "evil.example", False),
        ("https://evil.example/x", ", hosts: []", "evil.example", False),
    ],
)
def test_a_secret_is_sent_to_its_hosts_only(
    tmp_path: Path, url: str, more: str, host: str, *, is_allowed: bool
) -> None:
    if is_allowed:
        assert vault(tmp_path, url, more).resolve("Bearer {secret.t}", host=host) == "Bearer hunter2"
        return
    with pytest.raises(LoomOpsError, match="cannot send the secret 't' to") as error:
        vault(tmp_path, url, more).resolve("Bearer {secret.t}", host=host)
    assert "hunter2" not in str(error.value)


def test_a_secret_is_given_to_its_programs_only(tmp_path: Path) -> None:
    assert vault(tmp_path, "https://a.example").resolve("{secret.t}", command="kubectl") == "hunter2"
    with pytest.raises(LoomOpsError, match="cannot give the secret 't' to curl: its commands are kubectl"):
        vault(tmp_path, "https://a.example").resolve("{secret.t}", command="curl")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://{host}/x", ["host"]),
        ("{url}", ["url"]),
        ("{url}/health", ["url"]),
        ("https://api.{zone}.example:{port}/{path}?q={q}", ["zone", "port"]),
        ("https://a.example/{path}", []),
        ("https://a.example?{q}", []),
        ("https://{user}@a.example/", ["user"]),
    ],
)
def test_the_inputs_that_decide_about_a_host_are_found(url: str, expected: list[str]) -> None:
    assert inputs_in_host(url) == expected


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://api.example.org@evil.example/x", "evil.example"),
        ("https://EVIL.example:444", "evil.example:444"),
        ("https://a.example:x/", ""),
        ("nonsense", ""),
    ],
)
def test_the_host_of_a_url_is_where_it_leads(url: str, host: str) -> None:
    assert host_of(url) == host


@pytest.mark.parametrize(
    ("template", "value"), [("{x}", "{secret.t}"), ("{secret.{x}}", "t"), ("{x}.t}", "{secret"), ("{{x}", "secret.t}")]
)
def test_a_value_never_becomes_a_reference_to_a_secret(tmp_path: Path, template: str, value: str) -> None:
    filled = fill(template, {"x": value})
    assert "hunter2" not in vault(tmp_path, "https://a.example").resolve(filled, host="a.example")


@pytest.mark.parametrize(
    ("value", "why"),
    [("{secret.t}", "refers to a secret"), ("password=hunter2hunter2", "looks like a secret, which would be stored")],
)
def test_an_input_that_refers_to_a_secret_or_holds_one_is_refused(value: str, why: str) -> None:
    runbook, _ = parse_runbook(RUNBOOK.format(url="https://{host}", more=""), "b.md")
    assert runbook is not None
    with pytest.raises(LoomOpsError, match=why) as error:
        input_values(runbook, {"host": value})
    assert "hunter2" not in str(error.value)
