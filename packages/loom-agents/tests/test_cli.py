"""The module for building the commands of products."""

import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from loom_agents import AgentError, MessageFormatError, ModelError, ScriptError
from loom_agents.cli import BareFlags, CommandLine, request_name, requests_in_tree, serve_options
from loom_runner.cli_base import ExitCode
from loom_runner.errors import CommandError, StoreError, UsageError


class DemoError(CommandError):
    """An error of the product."""


DEMO = CommandLine("demo", start="demo chat", error=DemoError)


def test_a_database_that_must_exist_is_not_created(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    with pytest.raises(DemoError, match=r"there is no such database. Start with demo chat") as caught:
        with DEMO.open_database(str(path)):
            pass
    assert caught.value.exit_code == ExitCode.USAGE
    assert not path.exists()


def test_a_database_is_created_and_can_be_read(tmp_path: Path) -> None:
    path = str(tmp_path / "runs.sqlite")
    with DEMO.open_database(path, must_exist=False):
        pass
    with DEMO.open_database(path, read_only=True) as store:
        assert store.reader.list_runs() == []


def test_a_database_is_named_by_a_path_or_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for must_exist in (False, True):
        with DEMO.open_database("sqlite:///runs.sqlite", must_exist=must_exist) as store:
            assert store.address == "runs.sqlite"
    for address in ("my-store://ann:secret@h", "sqlite://runs.sqlite", " "):
        with pytest.raises(UsageError, match="^cannot open ") as caught:
            DEMO.require_database(address)
        assert "secret" not in str(caught.value)
    with pytest.raises(StoreError, match="File name too long"):
        DEMO.require_database("x" * 300)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MessageFormatError("x"), ExitCode.STORE),
        (ModelError("x"), ExitCode.PROVIDER),
        (ScriptError("x"), ExitCode.USAGE),
        (AgentError("x"), ExitCode.USAGE),
    ],
)
def test_an_error_of_an_agent_becomes_an_error_of_the_product(error: AgentError, code: ExitCode) -> None:
    with pytest.raises(DemoError, match="^x$") as caught, DEMO.translate_agent_errors():
        raise error
    assert caught.value.exit_code == code


def test_serving_without_the_extra_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "loom_agents.serve", None)
    with pytest.raises(DemoError, match=r"Install it: pip install 'demo\[serve\]'"):
        DEMO.serve(lambda _: pytest.fail("it was built"), "runs.sqlite", {})


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (["--mock-llm", "hi"], ("", "hi")),
        (["--mock-llm=file", "hi"], ("file", "hi")),
        (["--", "--mock-llm"], (None, "--mock-llm")),
    ],
)
def test_a_bare_flag_takes_no_value(arguments: list[str], value: Any) -> None:
    @click.command(cls=BareFlags)
    @click.option("--mock-llm")
    @click.argument("message")
    def command(mock_llm: str | None, message: str) -> Any:
        return mock_llm, message

    assert command.main(arguments, standalone_mode=False) == value


def test_the_serve_options_have_the_port_of_the_product() -> None:
    @click.command()
    @serve_options(port=8000)
    def command(**options: Any) -> None:
        click.echo(options)

    expected = {"host": "127.0.0.1", "port": 8000, "token_file": None, "allow_host": ()}
    assert CliRunner().invoke(command).output == f"{expected}\n"


def test_the_requests_of_a_run_include_those_of_its_descendants() -> None:
    requests = [{"run_id": run_id, "number": 1} for run_id in ("a", "a:sub:b", "a:sub:b:sub:c", "ab")]
    assert [request_name(row) for row in requests_in_tree(requests, "a")] == ["a#r1", "a:sub:b#r1", "a:sub:b:sub:c#r1"]
    assert requests_in_tree(requests, None) == requests
