"""Read `.mcp.json`: valid servers, invalid servers and broken files."""

import json
from pathlib import Path
from typing import Any

import pytest
from loom_agents import AgentError
from loom_agents._mcp.config import McpServerConfig, read_mcp_config
from loom_agents._mcp.tool_names import model_names


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def read(servers: Any, **environment: str) -> Any:
        file = tmp_path / ".mcp.json"
        file.write_text(json.dumps({"mcpServers": servers}))
        return read_mcp_config(file, environment=environment)

    return read


def test_a_stdio_server_is_read_with_its_variables(read: Any, tmp_path: Path) -> None:
    config = read(
        {"a": {"command": "${BIN:-python}", "args": ["-m", "x", "${HOME}/d"], "env": {"K": "${KEY}"}, "cwd": "sub"}},
        HOME="/srv/docs",
        KEY="secret",
    )
    assert config.problems == {}
    assert config.servers == (
        McpServerConfig("a", ("python", "-m", "x", "/srv/docs/d"), {"K": "secret"}, str(tmp_path / "sub")),
    )
    assert config.servers[0].shown == "${BIN:-python} -m x ${HOME}/d"
    assert "secret" not in repr(config)


def test_an_http_server_is_read_with_its_headers(read: Any) -> None:
    servers = {
        "h": {"type": "http", "url": "http://${H:-localhost}:1/mcp", "headers": {"Authorization": "Bearer ${T}"}}
    }
    (server,) = read(servers, T="t").servers
    assert (server.transport, server.url, server.headers) == (
        "http",
        "http://localhost:1/mcp",
        {"Authorization": "Bearer t"},
    )


def test_settings_that_only_this_agent_knows_are_in_the_member_loom(read: Any) -> None:
    loom = {"effect": "read", "approve": True, "tools": {"allow": ["a"], "deny": ["b"]}, "start_timeout_s": 2}
    (server,) = read({"s": {"command": "x", "timeout": 5, "loom": loom}}).servers
    assert (server.effect, server.approve, server.timeout_s, server.start_timeout_s) == ("read", True, 5.0, 2.0)
    assert [server.uses(tool) for tool in ("a", "b", "c")] == [True, False, False]


@pytest.mark.parametrize("name", ["docs-memory", "docs-memory-mcp", "rule-based-verifier", "files"])
def test_a_server_replaces_local_tools_only_when_the_file_says_so(read: Any, name: str) -> None:
    assert read({name: {"command": "x"}}).servers[0].replaces == {}
    assert read({name: {"command": "x", "loom": {"replaces": ["read_file"]}}}).servers[0].replaces == {
        "read_file": "read_file"
    }
    other = {name: {"command": "x", "loom": {"replaces": {"read_file": "docs_read"}}}}
    assert read(other).servers[0].replaces == {"read_file": "docs_read"}


@pytest.mark.parametrize("replaces", [{"a": 1}, {"a": "x", "b": "x"}, "a", [1], 3])
def test_replaces_that_say_nothing_clear_are_a_problem(read: Any, replaces: Any) -> None:
    config = read({"s": {"command": "x", "loom": {"replaces": replaces}}})
    assert config.servers == () and "loom.replaces" in config.problems["s"]


def test_a_disabled_server_is_left_out(read: Any) -> None:
    assert read({"a": {"command": "x", "disabled": True}, "b": {"command": "x"}}).servers[0].name == "b"


def test_unknown_members_are_named_and_ignored(read: Any) -> None:
    config = read({"a": {"command": "x", "comand": 1, "loom": {"efect": "read"}}})
    assert config.warnings == (
        "a: unknown member 'comand' was ignored",
        "a: unknown member 'loom.efect' was ignored",
    )


@pytest.mark.parametrize(
    ("server", "problem"),
    [
        (["x"], "it is not an object"),
        ({}, "either `command` (a program) or `url`"),
        ({"command": "x", "url": "http://a"}, "either `command`"),
        ({"command": ""}, "its command is empty"),
        ({"command": 3}, "command is not text"),
        ({"command": "x", "args": "y"}, "args is not a list"),
        ({"command": "x", "args": [1]}, "args[0] is not text"),
        ({"command": "x", "env": []}, "env is not an object"),
        ({"command": "x", "env": {"A": "${NOPE}"}}, "env.A needs the variable NOPE, which is not set"),
        ({"url": "http://h/${NOPE}"}, "url needs the variable NOPE"),
        ({"url": "http://h", "headers": {"A": "${NOPE}"}}, "headers.A needs the variable NOPE"),
        ({"url": "ftp://h"}, "does not begin with http"),
        ({"type": "sse", "url": "http://h"}, "its type is 'sse'"),
        ({"type": "http", "command": "x"}, "which cannot have `command`"),
        ({"command": "x", "timeout": 0}, "timeout is not a number of seconds"),
        ({"command": "x", "timeout": True}, "timeout is not a number of seconds"),
        ({"command": "x", "loom": 1}, "its `loom` is not an object"),
        ({"command": "x", "loom": {"effect": "none"}}, "loom.effect is 'none'"),
        ({"command": "x", "loom": {"approve": "yes"}}, "loom.approve is neither"),
        ({"command": "x", "loom": {"tools": {"only": []}}}, "loom.tools is not an object"),
        ({"command": "x", "loom": {"tools": {"deny": "a"}}}, "loom.tools.deny is not a list"),
    ],
)
def test_an_invalid_server_is_reported_by_name_and_the_others_are_used(read: Any, server: Any, problem: str) -> None:
    config = read({"bad": server, "good": {"command": "x"}})
    assert [good.name for good in config.servers] == ["good"]
    assert config.problems["bad"].startswith("cannot use MCP server 'bad' of ")
    assert problem in config.problems["bad"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{\n "mcpServers": {,}}', "line 2 is not JSON"),
        (b"", "line 1 is not JSON"),
        (b"{\x80}", "not JSON in UTF-8"),
        (b"[]", 'no object "mcpServers"'),
        (b'{"mcpServers": []}', 'no object "mcpServers"'),
    ],
)
def test_a_broken_file_is_one_clear_error(tmp_path: Path, data: bytes, message: str) -> None:
    file = tmp_path / ".mcp.json"
    file.write_bytes(data)
    with pytest.raises(AgentError, match=r"^cannot read .*\.mcp\.json: ") as error:
        read_mcp_config(file)
    assert message in str(error.value)


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="no such file"):
        read_mcp_config(tmp_path / "none.json")


def test_the_digest_is_of_the_bytes(read: Any) -> None:
    one, two = read({"a": {"command": "x"}}).digest, read({"a": {"command": "y"}}).digest
    assert len(one) == 64
    assert one != two


def test_every_provider_accepts_the_names() -> None:
    tools = [("docs", "search"), ("my server", "a.b"), ("s", "x" * 80), ("s", "x" * 79 + "y")]
    names = model_names(tools)
    assert names["docs", "search"] == "docs__search"
    assert names["my server", "a.b"] == "my_server__a_b"
    assert len(set(names.values())) == 4
    assert all(len(name) <= 64 and name.replace("-", "_").isidentifier() for name in names.values())
    assert names["s", "x" * 79 + "y"].endswith("xy")


def test_two_tools_never_share_a_name_and_a_name_that_is_not_changed_has_no_hash() -> None:
    names = model_names([("a", "b_c"), ("a", "b.c"), ("x__y", "z"), ("x", "y__z")])
    assert names["a", "b_c"] == "a__b_c"
    assert names["a", "b.c"].startswith("a__b_c_")
    assert len(set(names.values())) == 4
    assert model_names([("a", "b")], taken=["a__b"])["a", "b"].startswith("a__b_")


def test_a_name_does_not_depend_on_the_order() -> None:
    tools = [("a", "b_c"), ("a", "b.c"), ("s", "y" * 70)]
    assert model_names(tools) == model_names(tools[::-1])
