import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from loom_agents._process import launcher
from loom_agents._process.run import Ended, Limits, can_leave_network, run_process

pytestmark = pytest.mark.interpreter


def _run(*command: str, folder: Path, timeout_s: float = 20, **more: object) -> Ended:
    options = {"max_output_bytes": 10_000, **more}
    return asyncio.run(run_process(command, folder=folder, timeout_s=timeout_s, **options))


def _python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", "-c", code)


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _wait_until_gone(pid: int) -> None:
    end = time.monotonic() + 10
    while _is_alive(pid):
        assert time.monotonic() < end, f"process {pid} is still there"
        time.sleep(0.02)


def test_input_output_and_exit_code_are_passed_through(tmp_path: Path) -> None:
    code = "import sys; print(sys.stdin.read()); print('err', file=sys.stderr); sys.exit(3)"
    ended = _run(*_python(code), folder=tmp_path, stdin=b"hello")
    assert ended.exit_code == 3
    assert b"hello\n" in ended.output
    assert b"err\n" in ended.output
    assert not ended.timed_out


def test_a_command_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    code = (
        "import os, subprocess, sys, time; p = subprocess.Popen(['sleep', '600']);"
        "open('pids', 'w').write(f'{os.getpid()} {p.pid}'); print('started', flush=True); time.sleep(600)"
    )
    ended = _run(*_python(code), folder=tmp_path, timeout_s=1.5)
    assert ended.timed_out
    assert ended.exit_code is None
    assert ended.output == b"started\n"
    for pid in (tmp_path / "pids").read_text().split():
        _wait_until_gone(int(pid))


def test_a_child_that_is_left_behind_does_not_delay_the_result(tmp_path: Path) -> None:
    code = "import subprocess; p = subprocess.Popen(['sleep', '600']); print(p.pid)"
    started = time.monotonic()
    ended = _run(*_python(code), folder=tmp_path)
    assert ended.exit_code == 0
    assert time.monotonic() - started < 10
    _wait_until_gone(int(ended.output))


def test_a_child_that_left_the_group_does_not_delay_the_result(tmp_path: Path) -> None:
    code = "import subprocess; p = subprocess.Popen(['sleep', '30'], start_new_session=True); print(p.pid)"
    started = time.monotonic()
    ended = _run(*_python(code), folder=tmp_path)
    if sys.platform == "linux":  # elsewhere nobody can find it
        assert not Path(f"/proc/{int(ended.output)}").exists()
    else:
        os.kill(int(ended.output), signal.SIGKILL)
    assert ended.exit_code == 0
    assert time.monotonic() - started < 15


def test_a_signal_gives_a_negative_exit_code(tmp_path: Path) -> None:
    assert _run(*_python("import os; os.kill(os.getpid(), 9)"), folder=tmp_path).exit_code == -9


def test_too_much_output_keeps_both_ends_and_reports_what_is_omitted(tmp_path: Path) -> None:
    ended = _run(*_python("print('BEGIN' + 'x' * 1_000_000 + 'END')"), folder=tmp_path, max_output_bytes=1000)
    assert ended.is_truncated
    assert ended.output_bytes == 1_000_009
    assert ended.output.startswith(b"BEGIN")
    assert ended.output.endswith(b"END\n")
    assert b"[... 999009 bytes omitted ...]" in ended.output
    assert len(ended.output) < 1100


def test_output_of_exactly_the_limit_is_complete(tmp_path: Path) -> None:
    ended = _run(*_python("print('y' * 999)"), folder=tmp_path, max_output_bytes=1000)
    assert not ended.is_truncated
    assert ended.output == b"y" * 999 + b"\n"


def test_variables_of_this_process_are_not_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "hunter2")
    ended = _run(*_python("import os; print(sorted(os.environ))"), folder=tmp_path, environment={"GIVEN": "1"})
    assert b"OPENAI_API_KEY" not in ended.output
    assert b"GIVEN" in ended.output


def test_a_missing_program_is_reported_in_the_output(tmp_path: Path) -> None:
    ended = _run("no-such-program", folder=tmp_path)
    assert ended.exit_code == 127
    assert b"cannot start no-such-program" in ended.output


def test_cancelling_ends_the_command(tmp_path: Path) -> None:
    async def cancelled() -> None:
        code = "import os, time; open('pid', 'w').write(str(os.getpid())); os.rename('pid', 'pid2'); time.sleep(600)"
        task = asyncio.create_task(run_process(_python(code), folder=tmp_path, timeout_s=60, max_output_bytes=100))
        while not (tmp_path / "pid2").exists():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    _wait_until_gone(int((tmp_path / "pid2").read_text()))


def test_a_command_does_not_outlive_an_agent_that_is_killed(tmp_path: Path) -> None:
    inner = "import os, time; open('pid', 'w').write(str(os.getpid())); os.rename('pid', 'pid2'); time.sleep(600)"
    outer = (
        "import asyncio, sys; from pathlib import Path; from loom_agents._process.run import run_process;"
        f"asyncio.run(run_process({_python(inner)!r}, folder=Path('.'), timeout_s=60, max_output_bytes=100))"
    )
    agent = subprocess.Popen([sys.executable, "-c", outer], cwd=tmp_path)
    while not (tmp_path / "pid2").exists():
        assert agent.poll() is None
        time.sleep(0.02)
    agent.send_signal(signal.SIGKILL)
    agent.wait()
    _wait_until_gone(int((tmp_path / "pid2").read_text()))


def test_an_agent_killed_before_it_reads_the_code_leaves_no_launcher(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-I", "-S", launcher.__file__, str(theirs.fileno()), "", "true"]
    process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), start_new_session=True)
    theirs.close()
    while not select.select([ours], [], [], 10)[0]:
        pass
    ours.close()  # unread: the other end sees a reset
    assert process.wait(10) == -signal.SIGKILL


def test_limits_hold_for_the_command_and_its_children(tmp_path: Path) -> None:
    code = "import resource as r; print([r.getrlimit(x)[0] for x in (r.RLIMIT_CORE, r.RLIMIT_CPU, r.RLIMIT_FSIZE, r.RLIMIT_NOFILE)])"
    limits = Limits(cpu_s=7, file_bytes=1000, open_files=64)
    assert _run(*_python(code), folder=tmp_path, limits=limits).output == b"[0, 7, 1000, 64]\n"
    wrote = _run(
        *_python("open('big', 'wb', 0).write(b'x' * 1000); open('big', 'ab', 0).write(b'x')"),
        folder=tmp_path,
        limits=limits,
    )
    assert wrote.exit_code != 0
    assert (tmp_path / "big").stat().st_size <= 1000


def test_with_a_grace_the_command_may_end_by_itself(tmp_path: Path) -> None:
    code = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: (print('bye', flush=True), sys.exit(0)));"
        "print('on', flush=True); time.sleep(600)"
    )
    ended = _run(*_python(code), folder=tmp_path, timeout_s=1.5, grace_s=10)
    assert ended.timed_out and ended.exit_code is None
    assert ended.output == b"on\nbye\n"
    deaf = _python("import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)")
    assert _run(*deaf, folder=tmp_path, timeout_s=1, grace_s=0.3).timed_out


def test_only_the_named_variables_are_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET", "x")
    code = "import os; print(sorted(name for name in os.environ if not name.startswith(('LC_', '__'))))"
    ended = _run(*_python(code), folder=tmp_path, passed_on=("PATH",), environment={"A": "b"})
    assert ended.output == b"['A', 'PATH']\n"


_ESCAPE = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in (0, 1, 2): os.close(number)
        open('pid', 'w').write(str(os.getpid())); time.sleep(600)
    os._exit(0)
os.wait()
while not os.path.exists('pid') or not os.path.getsize('pid'): time.sleep(0.01)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has subreapers")
@pytest.mark.parametrize("more", ["", "import signal; os.kill(os.getppid(), signal.SIGKILL); time.sleep(600)"])
def test_a_process_that_left_group_and_session_is_killed(tmp_path: Path, more: str) -> None:
    ended = _run(*_python(_ESCAPE + more), folder=tmp_path)
    assert not _is_alive(int((tmp_path / "pid").read_text()))
    assert ended.launcher_killed is bool(more)
    assert (b"killed the process that started it" in ended.output) is bool(more)


def test_memory_is_limited(tmp_path: Path) -> None:
    ended = _run(*_python("bytearray(300_000_000)"), folder=tmp_path, limits=Limits(memory_bytes=200_000_000))
    assert b"MemoryError" in ended.output


def test_a_command_gets_no_file_of_this_process(tmp_path: Path) -> None:
    with (tmp_path / "secret").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        ended = _run("/bin/sh", "-c", "ls /proc/self/fd || true", folder=tmp_path)
    assert set(ended.output.split()) <= {b"0", b"1", b"2", b"3"}  # the last one is that of ls


@pytest.mark.skipif(not can_leave_network(), reason="this platform cannot take the network from a process")
def test_without_network_only_an_own_loopback_is_left(tmp_path: Path) -> None:
    code = (
        "import socket, sys\n"
        "own = socket.create_server(('127.0.0.1', 0)); socket.create_connection(own.getsockname(), 5); print('own')\n"
        "socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5); print('other')"
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        assert b"other" in _run(*_python(code), port, folder=tmp_path).output
        alone = _run(*_python(code), port, folder=tmp_path, network=False).output
        assert alone.endswith(b"own\n") and b"Connection refused" in alone


def test_a_relative_folder_of_the_search_path_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f".::{os.environ['PATH']}")
    (tmp_path / "ls").write_text("#!/bin/sh\necho wrong\n")
    (tmp_path / "ls").chmod(0o755)
    assert b"wrong" not in _run("ls", folder=tmp_path).output


def test_each_piece_of_output_is_reported_also_what_is_not_kept(tmp_path: Path) -> None:
    pieces: list[bytes] = []
    program = "print('x' * 99 + '\\n', end='', flush=True)\n" * 30
    command = (sys.executable, "-c", program)
    ended = asyncio.run(
        run_process(command, folder=tmp_path, timeout_s=20, max_output_bytes=100, on_output=pieces.append)
    )
    assert len(ended.output) < 200
    assert b"".join(pieces).count(b"\n") == 30
