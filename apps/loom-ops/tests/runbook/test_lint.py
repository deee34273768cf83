from importlib.resources import files

import pytest
from loom_ops._commands.rules_file import parse_rules
from loom_ops._runbook.lint import lint
from loom_ops._runbook.model import Runbook
from loom_ops._runbook.parse import parse_runbook

RULES = parse_rules("allow: [{argv: [kubectl, get, '{x}'], params: {x: a}}]", "rules.yaml")
CHECK = "```check id=c\nkind: tcp\nhost: h\nport: 1\n```\n"


def read(text: str) -> Runbook:
    runbook, problems = parse_runbook(text, "b.md")
    assert runbook is not None, problems
    return runbook


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("```run id=a undo=none\nargv: [kubectl, get, a]\n```\n", 1, "has no timeout"),
        ("```run id=a timeout=1s\nargv: [kubectl, get, a]\n```\n", 1, "declares no undo"),
        ("```run id=a timeout=1s undo=none\nargv: [kubectl, get, a]\n```\n", 1, "has no reason"),
        ("```run id=a timeout=1s undo=none\nargv: [bash, -c, id]\n```\n", 1, "starts a shell"),
        ("```run id=a timeout=1s undo=none\nargv: [kubectl, delete, a]\n```\n", 1, "no rule in rules.yaml"),
        ("```run id=a timeout=1s undo=none\nargv: [kubectl, get]\n```\n", 1, "no rule in rules.yaml"),
        ("```run id=a timeout=1s undo=none\nargv: [x, '{secret.t}']\n```\n", 1, "puts a secret into argv"),
        ("```run id=a timeout=1s undo=none\nargv: [x]\nenv: {A: '{secret.t}'}\n```\n", 1, "'t', which is not declared"),
        ("```check id=d\nkind: disk\npath: /\n```\n", 1, "any value passes"),
        ("```check id=d\nkind: disk\npath: /\nexpect: little\n```\n", 1, "not a comparison"),
        (
            (
                "---\ninputs: {h: {default: x}}\nsecrets: {t: {env: T}}\n---\n```check id=c\nkind: http\n"
                "url: 'https://{h}/x'\nheaders: {A: '{secret.t}'}\n```\n"
            ),
            5,
            "would send the secret 't' to a host that comes from the input 'h'",
        ),
        (
            (
                "---\ninputs: {url: {default: x}}\nsecrets: {t: {env: T}}\n---\n```run id=a timeout=1s undo=none\n"
                "argv: [curl, '{url}']\nenv: {A: '{secret.t}'}\n```\n"
            ),
            5,
            "would send the secret 't' to a host that comes from the input 'url'",
        ),
        ("1. Restart it.\n", 1, "is done by hand"),
        ("1. Restart it.\n", 1, "there is no check"),
        ("---\ninputs: {a: {pattern: x}}\n---\n" + CHECK, 2, "'a' is not used"),
        ("---\ninputs: {a: {}}\n---\n```check id=c\nkind: tcp\nhost: '{a}'\nport: 1\n```\n", 2, "accepts any value"),
    ],
)
def test_each_problem_is_reported_with_its_line(text: str, line: int, expected: str) -> None:
    found = [(problem.line, problem.text) for problem in lint(read(text), RULES)]
    assert any(line == at and expected in what for at, what in found), found


def test_a_good_runbook_has_no_problems() -> None:
    text = CHECK + "```run id=a timeout=1s undo=none\nargv: [kubectl, get, a]\nreason: because\n```\n"
    assert lint(read(text), RULES) == []
    assert lint(read(text)) == []


STARTERS = sorted(path.name for path in files("loom_ops").joinpath("runbooks").iterdir() if path.name.endswith(".md"))


@pytest.mark.parametrize("name", STARTERS)
def test_the_starter_runbooks_have_no_problems(name: str) -> None:
    runbook = read(files("loom_ops").joinpath("runbooks", name).read_text())
    assert lint(runbook) == [] and runbook.summary and runbook.match


def test_there_are_five_starters() -> None:
    assert STARTERS == ["api-latency.md", "certificate-expiry.md", "deploy.md", "disk-full.md", "incident-response.md"]
