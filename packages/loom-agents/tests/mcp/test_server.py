"""One server, as a real process: start, calls, exit and restart; the run continues without it."""

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from loom_agents._mcp.config import McpServerConfig
from loom_agents._mcp.server import McpServer
from loom_runner import OutcomeUnknown, ToolFailed

BARE = str(Path(__file__).parent / "servers" / "bare.py")


@asynccontextmanager
async def running(*flags: str, **settings: Any) -> Any:
    server = McpServer(McpServerConfig("bare", (sys.executable, "-S", BARE, *flags), **settings))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
        assert server.state in ("stopped", "failed")


def text_of(result: Any) -> str:
    return result.content[0].text


async def ask(server: McpServer, tool: str, *, repeatable: bool = False, **arguments: Any) -> Any:
    return await server.call(tool, arguments, is_repeatable=repeatable)


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())


def test_a_server_starts_lists_its_tools_and_answers() -> None:
    async def work() -> None:
        async with running() as server:
            assert server.state == "ready"
            assert server.info == "bare 1, protocol 2025-06-18"
            assert "echo" in [tool.name for tool in server.tools]
            assert text_of(await ask(server, "echo", text="hello")) == "hello"
            assert text_of(await ask(server, "echo", text="again")) == "again"

    run(work)


def test_calls_of_many_tasks_run_side_by_side() -> None:
    async def work() -> None:
        async with running() as server:
            results = await asyncio.gather(*(ask(server, "echo", text=str(number)) for number in range(20)))
            assert [text_of(result) for result in results] == [str(number) for number in range(20)]

    run(work)


def test_all_pages_of_tools_are_listed() -> None:
    async def work() -> None:
        async with running("tools=300") as server:
            assert len({tool.name for tool in server.tools}) == 300

    run(work)


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("mute",), "it did not answer within 1 s"),
        (("exit=3",), "Connection closed"),
        (("loop",), "more than 200 pages"),
    ],
)
def test_a_server_that_does_not_start_fails_with_a_reason(flags: tuple[str, ...], reason: str) -> None:
    async def work() -> None:
        began = time.monotonic()
        async with running(*flags, start_timeout_s=1 if "mute" in flags else 30) as server:
            assert server.state == "failed"
            assert reason in server.reason
            with pytest.raises(ToolFailed, match="'bare' is not running") as error:
                await ask(server, "echo")
            assert error.value.error_category == "unavailable"
        assert time.monotonic() - began < 15

    run(work)


def test_the_end_of_the_servers_stderr_is_kept() -> None:
    async def work() -> None:
        async with running("exit=3") as server:
            assert server.stderr.text == "no licence"

    run(work)


@pytest.mark.parametrize("command", ["no-such-program-here", BARE])
def test_a_program_that_cannot_be_run_is_named(command: str) -> None:
    async def work() -> None:
        server = McpServer(McpServerConfig("x", (command,)))
        await server.start()
        await server.stop()
        assert server.stderr.size_bytes == 0

    run(work)


def test_a_flood_on_stderr_blocks_nothing_and_uses_little_memory() -> None:
    async def work() -> None:
        async with running("flood") as server:
            assert text_of(await ask(server, "echo", text="x")) == "x"
            assert server.stderr.size_bytes >= 64 * 60_000
            assert len(server.stderr.text) <= 4096

    run(work)


def test_lines_that_are_not_json_are_ignored(caplog: Any) -> None:
    async def work() -> None:
        async with running("garbage") as server:
            assert text_of(await ask(server, "echo", text="x")) == "x"

    run(work)


def test_a_server_that_closes_its_stderr_is_alive() -> None:
    async def work() -> None:
        async with running("silent") as server:
            await asyncio.wait_for(server.stderr.ended.wait(), 10)
            assert text_of(await ask(server, "echo", text="x")) == "x"
            assert server.state == "ready"

    run(work)


def test_a_call_that_may_be_repeated_is_sent_again_when_the_server_dies(tmp_path: Path) -> None:
    effects = tmp_path / "effects"

    async def work() -> None:
        async with running(f"effects={effects}", f"once={tmp_path / 'died'}") as server:
            assert text_of(await ask(server, "die_reading", repeatable=True, text="done")) == "done"
            assert server.state == "ready"

    run(work)
    assert effects.read_text().split() == ["die_reading", "die_reading"]


def test_a_call_that_may_not_be_repeated_is_in_doubt_when_the_server_dies(tmp_path: Path) -> None:
    effects = tmp_path / "effects"

    async def work() -> None:
        async with running(f"effects={effects}", f"once={tmp_path / 'died'}") as server:
            with pytest.raises(OutcomeUnknown, match="it is unknown whether die took effect"):
                await ask(server, "die", text="x")
            assert server.stderr.text == "I crash"
            assert text_of(await ask(server, "echo", text="next process")) == "next process"

    run(work)
    assert effects.read_text().split() == ["die"]


def test_a_server_that_dies_again_and_again_makes_calls_fail_fast(tmp_path: Path) -> None:
    async def work() -> None:
        async with running(f"effects={tmp_path / 'effects'}") as server:
            began = time.monotonic()
            for _ in range(2):
                with pytest.raises(OutcomeUnknown):
                    await ask(server, "die", text="x")
            while server.state != "waiting":
                await server._next_change()
            with pytest.raises(
                ToolFailed,
                match=r"is not running \((its process exited|it closed the connection)\)\. It restarts in \d s",
            ):
                await ask(server, "echo", text="x")
            assert time.monotonic() - began < 20

    run(work)


def test_a_call_without_an_answer_ends_by_its_timeout_and_is_cancelled_at_the_server(tmp_path: Path) -> None:
    effects = tmp_path / "effects"

    async def work() -> None:
        async with running(f"effects={effects}", timeout_s=0.3) as server:
            with pytest.raises(OutcomeUnknown, match=r"did not answer within 0\.3 s; it is unknown"):
                await ask(server, "hang")
            with pytest.raises(ToolFailed, match=r"did not answer within 0\.3 s$") as error:
                await ask(server, "hang_reading", repeatable=True)
            assert error.value.error_category == "timeout"
            assert text_of(await ask(server, "echo", text="x")) == "x"

    run(work)
    assert effects.read_text().split() == ["hang", "cancelled", "hang", "cancelled"]


def test_a_cancelled_call_is_cancelled_at_the_server(tmp_path: Path) -> None:
    effects = tmp_path / "effects"

    async def work() -> None:
        async with running(f"effects={effects}") as server:
            call = asyncio.create_task(ask(server, "hang"))
            while not effects.exists():
                await asyncio.sleep(0.01)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert text_of(await ask(server, "echo", text="x")) == "x"

    run(work)
    assert effects.read_text().split() == ["hang", "cancelled"]


def test_progress_is_reported() -> None:
    reports: list[Any] = []

    async def report(progress: float, total: float | None, message: str | None) -> None:
        reports.append((progress, total, message))

    async def work() -> None:
        async with running() as server:
            await server.call("slow", {}, is_repeatable=True, on_progress=report)

    run(work)
    assert reports == [(1, 2, "part 1"), (2, 2, "part 2")]


def test_an_error_of_the_protocol_is_a_failed_tool() -> None:
    async def work() -> None:
        async with running() as server:
            with pytest.raises(ToolFailed, match="refused: not like this"):
                await ask(server, "refuses")

    run(work)


def test_a_server_gets_only_the_variables_that_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOM_SECRET", "hunter2")

    async def work() -> None:
        async with running(env={"GIVEN": "1"}) as server:
            names = text_of(await ask(server, "environment")).split()
            assert "GIVEN" in names
            assert "LOOM_SECRET" not in names

    run(work)


def test_servers_may_be_stopped_in_any_order() -> None:
    async def work() -> None:
        servers = [McpServer(McpServerConfig(str(n), (sys.executable, "-S", BARE))) for n in range(3)]
        await asyncio.gather(*(server.start() for server in servers))
        for server in servers:  # the oldest first: what breaks two connections in one task
            await server.stop()
        assert [server.state for server in servers] == ["stopped"] * 3

    run(work)
