"""Tokens: their file, expiry, revocation, and the sessions of the page."""

import hashlib
import json
import stat
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from loom_agents import AgentError
from loom_agents._serve.token_file import add_token, remove_token
from loom_agents._serve.tokens import SESSION_IDLE_S, SESSION_MAX_S, Tokens, read_token_file
from loom_agents.cli import CommandLine
from loom_runner.errors import CommandError

START = 1_800_000_000.0  # 2027-01-15T08:00:00Z


class Clock:
    now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    digest = hashlib.sha256(b"secret").hexdigest()
    path = tmp_path / "tokens.toml"
    path.write_text(f'# ours\n[alice]\nsha256 = "{digest}"\nscopes = ["read"]\nexpires = 2027-01-15T09:00:00Z\n')
    return path


def test_an_expired_token_is_refused_with_its_sessions(file: Path, clock: Clock) -> None:
    tokens = Tokens.of_file(file, clock=clock)
    session = tokens.open_session("secret") or ""
    clock.now += 3599
    assert tokens.caller("secret") is not None
    assert tokens.of_session(session) is not None
    clock.now += 1
    assert tokens.caller("secret") is None
    assert tokens.of_session(session) is None
    assert tokens.open_session("secret") is None


def test_a_token_removed_from_the_file_is_refused_at_once(file: Path, clock: Clock) -> None:
    other = add_token(file, "bob", ["read"], None)
    tokens = Tokens.of_file(file, clock=clock)
    session = tokens.open_session("secret") or ""
    remove_token(file, "alice")
    assert tokens.caller("secret") is None
    assert tokens.of_session(session) is None
    assert tokens.caller(other) is not None
    later = add_token(file, "carol", ["run"], None)
    assert tokens.caller(later) is not None
    assert file.read_text().startswith("# ours\n")


@pytest.mark.parametrize("text", [None, "x = [", ""])
def test_a_token_file_that_becomes_unusable_lets_nobody_in(file: Path, text: str | None, clock: Clock) -> None:
    tokens = Tokens.of_file(file, clock=clock)
    whole = file.read_text()
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    assert tokens.caller("secret") is None
    file.write_text(whole)
    assert tokens.caller("secret") is not None


def test_a_session_ends_when_it_is_idle_and_after_a_day_in_any_case(clock: Clock) -> None:
    tokens, token = Tokens.generated("local", clock=clock)
    idle, used = tokens.open_session(token) or "", tokens.open_session(token) or ""
    while clock.now < START + SESSION_MAX_S - SESSION_IDLE_S / 2:
        assert tokens.of_session(used) is not None
        assert (tokens.of_session(idle, is_use=False) is not None) == (clock.now < START + SESSION_IDLE_S)
        clock.now += SESSION_IDLE_S / 2
    assert tokens.of_session(used) is not None
    clock.now = START + SESSION_MAX_S
    assert tokens.of_session(used) is None


def test_old_sessions_make_room_for_new_ones(clock: Clock) -> None:
    tokens, token = Tokens.generated("local", clock=clock)
    first = tokens.open_session(token) or ""
    for _ in range(1000):
        clock.now += 1
        last = tokens.open_session(token) or ""
    assert tokens.of_session(first) is None
    assert tokens.of_session(last) is not None


class DemoError(CommandError):
    pass


@pytest.fixture
def command() -> click.Group:
    group = click.Group()
    from loom_agents.cli import token_commands

    group.add_command(token_commands(CommandLine("demo", start="demo", error=DemoError).translate_agent_errors))
    return group


def run(command: click.Group, *words: str, file: Path) -> tuple[int, str]:
    done = CliRunner().invoke(command, ["tokens", words[0], "--token-file", str(file), *words[1:]])
    text = done.stdout or str(done.exception or "") + done.stderr
    return done.exit_code, text.strip()


def test_a_token_is_made_printed_once_listed_and_revoked(command: click.Group, tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    code, token = run(command, "new", "al@x", "--scope", "read,run", "--expires", "30d", file=file)
    assert code == 0
    assert token not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    caller = Tokens.of_file(file).caller(token)
    assert caller is not None
    assert (caller.name, caller.scopes) == ("al@x", {"read", "run"})
    assert run(command, "new", "bob", "--scope", "admin", file=file)[0] == 0
    (first, second) = json.loads(run(command, "list", "--output", "json", file=file)[1])
    assert (first["name"], first["is_valid"], second["expires_at"]) == ("al@x", True, None)
    assert run(command, "revoke", "al@x", file=file) == (0, "revoked al@x")
    assert list(read_token_file(file)) == ["bob"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["tokens.toml"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("new", "alice", "--scope", "read"), "has it"),
        (("new", "a b", "--scope", "read"), "a name has letters"),
        (("new", "bob", "--scope", "all"), "not among"),
        (("new", "bob", "--scope", "read", "--expires", "soon"), "neither like"),
        (("new", "bob", "--scope", "read", "--expires", "2027-01-31T00:00:00"), "neither like"),
        (("new", "bob", "--scope", "read", "--expires", "2001-01-31T00:00:00Z"), "in the past"),
        (("revoke", "bob"), "no such token. It has: alice"),
    ],
)
def test_a_refused_command_says_why_and_changes_nothing(
    command: click.Group, file: Path, words: tuple[str, ...], message: str
) -> None:
    before = file.read_text()
    code, text = run(command, *words, file=file)
    assert code != 0
    assert message in text
    assert file.read_text() == before


def test_a_file_with_an_unusual_layout_is_not_changed(file: Path) -> None:
    file.write_text(f'bob = {{sha256 = "{"1" * 64}", scopes = ["read"]}}\n')
    with pytest.raises(AgentError, match="Remove 'bob' by hand"):
        remove_token(file, "bob")


def test_a_token_file_gives_each_caller_its_scopes(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"secret").hexdigest()
    file = tmp_path / "tokens.toml"
    file.write_text(f'[alice]\nsha256 = "{digest}"\nscopes = ["read", "approve"]\n')
    tokens = Tokens.of_file(file)
    alice = tokens.caller("secret")
    assert alice is not None
    assert (alice.name, [alice.may(scope) for scope in ("read", "run", "approve", "admin")]) == (
        "alice",
        [True, False, True, False],
    )
    assert tokens.caller("other") is None
    assert Tokens.of_file(file).of_session(tokens.open_session("secret") or "") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f'[a]\nsha256 = "{"0" * 64}"\nscopes = ["read"]\nexpires = 2027-01-31', "not a time with a zone"),
        (f'[a]\nsha256 = "{"0" * 64}"\nscopes = ["read"]\nexpires = 2027-01-31T00:00:00', "not a time with a zone"),
        (f'[a]\nsha256 = "{"0" * 64}"\nscopes = [["read"]]', "not among"),
        ("".join(f'[{name}]\nsha256 = "{"0" * 64}"\nscopes = ["read"]\n' for name in "ab"), "the same token"),
        ("a = " + "[" * 5000, "not TOML"),
        ("", "it has no tokens"),
        ("x", "not TOML"),
        ("a = 1", "exactly `sha256` and `scopes`"),
        ('[a]\nsha256 = "00"\nscopes = ["read"]', "not 64 hexadecimal digits"),
        (f'[a]\nsha256 = "{"0" * 64}"\nscopes = ["all"]', "not among read, run, approve, admin"),
        (f'[a]\nsha256 = "{"0" * 64}"\nscopes = []', "not among"),
        (f'[a]\nsha256 = "{"0" * 64}"\nscopes = ["read"]\ntoken = "x"', "exactly"),
    ],
)
def test_an_invalid_token_file_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.toml").write_text(text)
    with pytest.raises(AgentError, match="^cannot (read|use) ") as error:
        Tokens.of_file(tmp_path / "t.toml")
    assert message in str(error.value)
    with pytest.raises(AgentError, match="no such file"):
        Tokens.of_file(tmp_path / "none.toml")
