"""A database that somebody else made is read, and written to only when the user trusts it."""

import apsw
import click
import pytest
from click.testing import CliRunner
from loom_runner import SQLiteStore
from loom_runner._cli.main import main_group
from loom_runner.cli_base import allow_database, remember_database, trust_option
from loom_runner.errors import StoreForeign


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("LOOM_TRUST_DATABASE", raising=False)
    (tmp_path / ".git").mkdir()
    path = str(tmp_path / "runs.sqlite")
    SQLiteStore(path).close()
    return path


def insert_run(path, program):
    db = apsw.Connection(path)
    db.execute(
        "INSERT INTO runs (run_id, status, program, created_at, updated_at, input, state)"
        " VALUES ('r', 'waiting', ?, 1, 1, '1', '1')",
        (program,),
    )
    db.close()


@click.command()
@click.argument("db")
@click.option("--reads", is_flag=True)
@trust_option
def product(db, reads):
    allow_database(db, writes=not reads)
    if not reads:
        with SQLiteStore(db) as store:
            remember_database(store)


def test_a_foreign_database_is_read_with_a_note_and_written_to_with_trust(path, monkeypatch):
    run = CliRunner().invoke
    result = run(product, [path, "--reads"])
    assert result.exit_code == 0
    assert f"note: {path} is only read: it is in a git work tree" in result.output
    result = run(product, [path])
    assert isinstance(result.exception, StoreForeign)
    assert "--trust (or LOOM_TRUST_DATABASE=1)" in str(result.exception)
    assert run(product, [path, "--trust"]).exit_code == 0
    assert run(product, [path]).exit_code == 0


def test_the_environment_trusts_a_database(path, monkeypatch):
    monkeypatch.setenv("LOOM_TRUST_DATABASE", "1")
    assert CliRunner().invoke(product, [path]).exit_code == 0
    monkeypatch.delenv("LOOM_TRUST_DATABASE")
    assert CliRunner().invoke(product, [path]).exit_code == 0


def test_a_database_without_an_id_is_remembered_when_it_has_one(path):
    db = apsw.Connection(path)
    db.execute("DELETE FROM about")
    db.close()
    assert CliRunner().invoke(product, [path]).exit_code == 1
    assert CliRunner().invoke(product, [path, "--trust"]).exit_code == 0
    assert CliRunner().invoke(product, [path]).exit_code == 0


@pytest.mark.parametrize(
    "words", [["cancel", "r"], ["pause", "r"], ["signal", "go", "r"], ["resolve", "r#1", "--skip"]]
)
def test_commands_of_the_runner_write_to_a_foreign_database_only_if_it_has_no_runs_of_a_product(path, words):
    insert_run(path, "loom-run/chat")
    result = CliRunner().invoke(main_group, [*words, "--db", path])
    assert isinstance(result.exception, StoreForeign)
    db = apsw.Connection(path)
    db.execute("UPDATE runs SET program = 'own'")
    db.close()
    result = CliRunner().invoke(main_group, [*words, "--db", path])
    assert not isinstance(result.exception, StoreForeign)


def test_a_database_that_run_or_worker_made_is_not_foreign_to_the_products(tmp_path, path, monkeypatch):
    (tmp_path / "agent.py").write_text(
        "from loom_runner import Complete\ninitial_state = lambda: 0\nasync def step(state, ctx):\n    return Complete(1)"
    )
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke
    assert run(main_group, ["run", "agent.py", "r", "--db", "new.sqlite"]).exit_code == 0
    assert run(main_group, ["worker", "agent.py", "--until-idle", "--db", "idle.sqlite"]).exit_code == 0
    assert run(product, ["new.sqlite"]).exit_code == 0
    assert run(product, ["idle.sqlite"]).exit_code == 0

    assert run(main_group, ["run", "agent.py", "r", "--db", path]).exit_code == 0
    assert isinstance(run(product, [path]).exception, StoreForeign)  # it was there before
