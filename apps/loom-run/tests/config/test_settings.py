"""The layers of settings: precedence, refused lines, and settings that need trust."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from loom_agents import Mode
from loom_run._config.settings import MODES, load_settings
from loom_run._config.trust import TrustPrompt
from loom_run._errors import LoomRunError

Run = Callable[..., Any]


@pytest.fixture
def user(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder with the user's settings."""
    home = tmp_path_factory.mktemp("config")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    (home / "loom").mkdir()
    return home / "loom"


def test_a_later_layer_overrides_an_earlier_one(project: Path, user: Path) -> None:
    (user / "config.toml").write_text('model = "ollama:a"\nmax_cost = 1\ndb = "u.sqlite"\n')
    (project / "loom.toml").write_text('# ours\nmodel = "ollama:b"\nmax_steps = 3\n')
    settings = load_settings(environment={"LOOM_MODEL": "ollama:c", "LOOM_MAX_TOKENS": "10", "LOOM_DB": ""})
    assert (settings.model, settings.max_cost, settings.db) == ("ollama:c", 1.0, "u.sqlite")
    assert (settings.max_steps, settings.max_tokens, settings.mode) == (3, 10, None)
    assert settings.origins == {
        "model": "LOOM_MODEL",
        "max_cost": f"{user / 'config.toml'}:2",
        "db": f"{user / 'config.toml'}:3",
        "max_steps": "loom.toml:3",
        "max_tokens": "LOOM_MAX_TOKENS",
    }


def test_nothing_is_set_without_files(project: Path, user: Path) -> None:
    assert dict(load_settings(environment={}).origins) == {}


def test_agents_of_both_files_are_kept(project: Path, user: Path) -> None:
    (user / "config.toml").write_text('[agents.mine]\nprompt = "p"\n')
    (project / "loom.toml").write_text(
        '[agents.verifier]\nprompt = "Verify."\ntools = ["run_tests"]\nmax_cost_usd = 0.5\n'
    )
    settings = load_settings(environment={})
    assert settings.agents == {
        "mine": {"prompt": "p"},
        "verifier": {"prompt": "Verify.", "tools": ("run_tests",), "max_cost_usd": 0.5},
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('\nmodl = "a:b"', "line 2 sets 'modl', which is not a setting. Did you mean 'model'?"),
        ("[zzz]\na = 1", "line 1 sets 'zzz', which is not a setting. Known settings: model,"),
        ('[agents.a]\nprompt = "x"\ntool = []', "line 3 sets 'tool', which is not a setting. Did you mean 'tools'?"),
        ("agents = 3", "agents in line 1 is not tables"),
        ('\n[agents."a b"]\nprompt = "x"', "the name 'a b' in line 2 is not 1 to 40"),
        ("model = 3", "model in line 1 is not a non-empty string"),
        ('model = ""', "model in line 1 is not a non-empty string"),
        ("max_steps = 0", "max_steps in line 1 is not a whole number"),
        ("max_steps = true", "max_steps in line 1 is not a whole number"),
        ("max_cost = -1", "max_cost in line 1 is not a number"),
        ("max_cost = inf", "max_cost in line 1 is not a number"),
        ('allow = "x"', "allow in line 1 is not a list of strings"),
        ('mode = "yolo"', "mode in line 1 is not one of ask, edits, auto, read-only"),
        ("model = ", "it is not TOML: invalid value"),
        ("\udcff", "it is not TOML"),
    ],
)
def test_an_unknown_setting_is_refused_with_its_line(project: Path, user: Path, text: str, expected: str) -> None:
    (project / "loom.toml").write_text(text, errors="surrogateescape")
    with pytest.raises(LoomRunError, match="^cannot (use|read) ") as error:
        load_settings(environment={})
    assert expected in str(error.value)
    assert " loom.toml: " in str(error.value)


@pytest.mark.parametrize(
    "variable", ["LOOM_MAX_STEPS=x", "LOOM_MAX_STEPS=0", "LOOM_MAX_COST=nan", "LOOM_MAX_COST=-1", "LOOM_MODE=yolo"]
)
def test_an_invalid_variable_is_named(project: Path, user: Path, variable: str) -> None:
    with pytest.raises(LoomRunError, match=f"cannot use {variable.partition('=')[0]}="):
        load_settings(environment=dict([variable.split("=")]))


def test_a_folder_in_place_of_a_file_is_reported_in_one_line(project: Path, user: Path) -> None:
    (project / "loom.toml").mkdir()
    with pytest.raises(LoomRunError, match="is not a plain file"):
        load_settings(environment={})


def test_a_project_cannot_trust_itself(project: Path, user: Path) -> None:
    (project / "loom.toml").write_text('model = "ollama:b"\nmode = "auto"\ntest_command = "rm -rf ."\ndeny = ["x"]\n')
    settings = load_settings(environment={})
    assert settings.guarded is not None
    assert settings.guarded[2] == ("mode", "test_command")
    with pytest.raises(LoomRunError, match="it sets mode, test_command, and you have not trusted it"):
        TrustPrompt().require(settings)
    TrustPrompt(given=True).require(settings)
    TrustPrompt().require(settings)
    (project / "loom.toml").write_text('mode = "auto"\n')
    with pytest.raises(LoomRunError):
        TrustPrompt().require(load_settings(environment={}))


def test_the_settings_of_the_user_need_no_trust(project: Path, user: Path) -> None:
    (user / "config.toml").write_text('mode = "auto"\n')
    assert load_settings(environment={}).guarded is None
    (project / "loom.toml").write_text('mode = "auto"\n')
    assert load_settings(environment={"LOOM_MODE": "ask"}).guarded is None


def test_the_user_is_shown_the_file_and_asked(project: Path, user: Path, monkeypatch: Any, capsys: Any) -> None:
    file = project / "loom.toml"
    file.write_text('mode = "auto"\n' + "#\n" * 50)
    answers = [False, True]
    monkeypatch.setattr("click.confirm", lambda *_, **__: answers.pop(0))
    prompt = TrustPrompt(may_ask=True)
    assert [prompt.trusts(file, digest, "set mode") for digest in ("aa", "aa", "aa")] == [False, True, True]
    err = capsys.readouterr().err
    assert f"{file} would set mode." in err
    assert '  | mode = "auto"' in err
    assert "(12 more lines)" in err
    answers.append(False)
    assert not prompt.trusts(file, "bb", "set mode")
    assert "It has changed since you trusted it." in capsys.readouterr().err


def test_the_command_prints_values_and_origins(project: Path, user: Path, loom_run: Run) -> None:
    (project / "loom.toml").write_text('mode = "auto"\nallow = ["a", "b"]\n[agents.x]\nprompt = "p"\n')
    shown = loom_run("config", "--show", "--output", "text")
    assert shown.code == 0
    assert [line.split()[:2] for line in shown.out.splitlines()[1:]] == [
        ["mode", "auto"],
        ["allow", "a,"],
        ["agents", "x"],
    ]
    assert "loom.toml:1  (needs trust)" in shown.out
    rows = json.loads(loom_run("config").out)
    assert rows[0] == {"name": "mode", "value": "auto", "origin": "loom.toml:1", "needs_trust": True}
    (project / "loom.toml").write_text("x = 1")
    failed = loom_run("config")
    assert (failed.code, failed.out, failed.err.count("\n")) == (2, "", 1)


def test_the_modes_are_those_of_the_policy() -> None:
    assert get_args(Mode) == MODES


def test_without_a_home_there_are_no_settings_of_the_user(project, loom_run, monkeypatch):
    """A container whose user has no entry and no HOME."""
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    assert loom_run("chat", "whales", "-r", "r", "--mock-llm").code == 0
    refused = loom_run("trust", "--yes")
    assert "cannot store what you trust in /dev/null/loom/trust.json" in refused.err
    assert refused.err.rstrip().endswith("Set XDG_CONFIG_HOME to a folder that you can write.")
