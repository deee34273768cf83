import pytest
from loom_ops._errors import LoomOpsError
from loom_ops._runbook.inputs import input_values
from loom_ops._runbook.model import Check, Run, Runbook
from loom_ops._runbook.parse import parse_runbook
from loom_ops._runbook.render import render_step

BOOK = """\
---
inputs:
  service: {pattern: "(api|web)"}
  replicas: {type: integer, default: 2}
  mode: {enum: [fast, slow], default: slow}
  anything: {default: "x"}
secrets: {token: {env: T}}
---
```check id=up
kind: http
url: "http://{service}.test/{mode}"
headers: {Authorization: "Bearer {secret.token}", X: ["{mode}"]}
expect: "< {replicas}"
```
```run id=scale undo=none timeout=1m
argv: [kubectl, scale, "--replicas={replicas}", "{service}"]
env: {A: "{service}", B: "{secret.token}"}
```
"""


@pytest.fixture
def book() -> Runbook:
    runbook, problems = parse_runbook(BOOK, "b.md")
    assert runbook is not None, problems
    return runbook


def test_slots_are_filled_and_references_to_secrets_stay(book: Runbook) -> None:
    values = input_values(book, {"service": "api", "replicas": 3})
    check, run = (render_step(step, values) for step in book.steps)
    assert isinstance(check, Check) and isinstance(run, Run)
    assert run.argv == ("kubectl", "scale", "--replicas=3", "api")
    assert run.environment == {"A": "api", "B": "{secret.token}"}
    assert check.options["url"] == "http://api.test/slow" and check.expect == "< 3"
    assert check.options["headers"] == {"Authorization": "Bearer {secret.token}", "X": ["slow"]}


def test_a_value_is_not_searched_for_slots(book: Runbook) -> None:
    values = input_values(book, {"service": "api", "anything": "{service}"})
    assert values["anything"] == "{service}"
    assert isinstance(run := render_step(book.steps[1], {"service": "{replicas}", "replicas": "9"}), Run)
    assert run.argv[-1] == "{replicas}"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "'service' is not given. Add --input service=VALUE"),
        ({"service": "db"}, "does not match (api|web)"),
        ({"service": "api;id"}, "does not match"),
        ({"service": "api\n"}, "invisible character"),
        ({"service": "api", "replicas": "two"}, "not of type integer"),
        ({"service": "api", "replicas": "٣"}, "not of type integer"),
        ({"service": "api", "mode": "idle"}, "not one of fast, slow"),
        ({"service": "api", "anything": "--all"}, "begins with '-'"),
        ({"service": "api", "anything": "a\u202eb"}, "invisible character"),
        ({"service": "api", "anything": "a\ud800"}, "invisible character"),
        ({"service": "api", "anything": ""}, "is empty"),
        ({"service": "api", "anything": "x" * 2000}, "longer than"),
        ({"service": "api", "servcie": "x"}, "it has no input 'servcie'"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused(book: Runbook, given: dict[str, object], expected: str) -> None:
    with pytest.raises(LoomOpsError) as caught:
        input_values(book, given)
    assert expected in str(caught.value) and len(str(caught.value)) < 300


def test_a_negative_number_is_a_number(book: Runbook) -> None:
    assert input_values(book, {"service": "api", "replicas": -1})["replicas"] == "-1"
