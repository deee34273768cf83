"""The option `--db` of every command."""

import click
import pytest
from loom_runner._cli.main import main_group

STEP = """
from loom_runner import Complete, Wait
async def step(state, ctx):
    return Complete(state)
"""
COMMANDS = sorted(
    name for name, command in main_group.commands.items() if any("--db" in option.opts for option in command.params)
)
ARGUMENTS = {
    "run": ("agent.py", "r"),
    "resume": ("agent.py", "r"),
    "resolve": ("r#1", "--retry"),
    "signal": ("go", "r"),
    "decide": ("r#1", "--approve"),
    "fork": ("r", "--step", "1", "--as", "f"),
    "worker": ("agent.py", "--until-idle"),
    "query": ("SELECT 1 AS x",),
    "backup": ("copy.sqlite",),
} | dict.fromkeys(("list", "stats", "doctor", "rekey", "prune", "approvals", "doubts", "verify"), ())


def called(place, name, db):
    return place.call(name, *ARGUMENTS.get(name, ("r",)), "--db", db)


def is_one_line(done, code, part):
    assert (done.returncode, done.stdout, done.stderr.count("\n"), part in done.stderr) == (code, "", 1, True), done


def test_the_option_is_in_most_commands():
    assert len(COMMANDS) > 15
    assert all(isinstance(main_group.commands[name], click.Command) for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_a_url_as_it_takes_a_path(place, name):
    place.call("run", "agent.py", "r", "--max-steps", "2")
    by_path = called(place, name, "runs.sqlite")
    (place.folder / "runs.sqlite").unlink()
    for made in ("effects.txt", "copy.sqlite"):
        (place.folder / made).unlink(missing_ok=True)
    place.call("run", "agent.py", "r", "--max-steps", "2")
    by_url = called(place, name, "sqlite:///runs.sqlite")
    assert "no database" not in by_url.stderr
    assert (by_url.returncode, by_url.stderr) == (by_path.returncode, by_path.stderr)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_refuses_a_bad_address_in_one_line(place, name):
    is_one_line(called(place, name, "postgresql+psycopg://ann:secret@h/db"), 2, "no store supports the scheme")
    assert "secret" not in called(place, name, "postgres:/ann:secret@h/db").stderr
    is_one_line(called(place, name, " "), 2, "without a name")
    is_one_line(called(place, name, "x" * 300), 8, "File name too long")


@pytest.mark.parametrize("name", ["agent.py", "step.py"])
def test_a_url_reaches_modules_of_both_kinds_and_the_hints(place, name):
    place.write("step.py", STEP)
    done = place.call("run", name, "r", "--db", "sqlite:///u.db", "--max-steps", "1", "--input", '{"n": 1}')
    assert done.returncode == 0, done.stderr
    assert (place.folder / "u.db").exists()
    assert "sqlite:" not in done.stderr
    assert place.call("get", "r", "--db", f"sqlite:///{place.folder}/u.db").returncode == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_the_same_of_names_that_are_no_file(place, name):
    texts = set()
    for db in (":memory:", " :memory: ", "sqlite:///:memory:", "-", "sqlite:///-"):
        done = called(place, name, db)
        is_one_line(done, 2, "it is no file")
        texts.add(done.stderr)
    assert len(texts) == 2
    assert sorted(path.name for path in place.folder.iterdir()) == ["agent.py"]


def test_a_file_of_such_a_name_is_given_with_its_folder(place):
    assert place.call("run", "agent.py", "r", "--db", "./-").returncode == 0
    assert place.call("get", "r", "--db", "./-").returncode == 0


@pytest.mark.parametrize("place_of_chdir", ["import", "step"])
def test_a_module_that_changes_the_current_folder_changes_no_path_of_the_command(place, place_of_chdir):
    (place.folder / "sub").mkdir()
    change = f"import os; os.chdir({str(place.folder / 'sub')!r})"
    at_import, in_step = (change, "") if place_of_chdir == "import" else ("", change)
    place.write(
        "step.py",
        f"""
from loom_runner import Complete
{at_import}
async def step(state, ctx):
    {in_step or "pass"}
    return Complete(state)
""",
    )
    done = place.call("run", "step.py", "r", "--db", "u.db", "--input", "1", "--trace", "t.html")
    assert done.returncode == 0, done.stderr
    assert place.call("get", "r", "--db", "u.db").returncode == 0
    if place_of_chdir == "step":
        assert (place.folder / "t.html").exists()
        assert list((place.folder / "sub").iterdir()) == []
    assert not list((place.folder / "sub").glob("u.db*"))
