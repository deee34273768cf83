import asyncio
import os
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
from loom_ops._commands.run import run_command
from loom_ops._commands.secrets import Vault
from loom_ops._drill import Drill
from loom_ops._errors import CommandDeniedError, LoomOpsError


def seconds(url: str) -> float:
    before = time.monotonic()
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10) as answer:
        assert answer.status == 200
    return time.monotonic() - before


def command(drill: Drill, tmp_path: Path, *argv: str) -> str:
    ended = asyncio.run(
        run_command(
            argv, rules=drill.rules, effect="write", timeout_s=20, workspace=tmp_path, vault=Vault({}, tmp_path)
        )
    )
    return f"{ended.exit_code} {ended.output.strip()}"


def test_the_service_is_slow_and_the_rollback_makes_it_fast(tmp_path: Path) -> None:
    drill = Drill(tmp_path / "a drill")
    with drill.serving() as url:
        assert seconds(url) > 0.55
        assert command(drill, tmp_path, "rollback-service", "api") == "0 api is now at 2026.11.1"
        assert seconds(url) < 0.5
        assert command(drill, tmp_path, "redeploy-service", "api") == "0 api is now at 2026.11.2"
        assert seconds(url) > 0.55


def test_another_process_serves_on_the_same_port(tmp_path: Path) -> None:
    drill = Drill(tmp_path)
    with drill.serving() as first:
        command(drill, tmp_path, "rollback-service", "api")
        with pytest.raises(LoomOpsError, match="port .* is in use"), Drill(tmp_path).serving():
            pass
    with Drill(tmp_path).serving() as second:
        assert second == first and seconds(second) < 0.5


def test_only_its_own_programs_are_allowed(tmp_path: Path) -> None:
    drill = Drill(tmp_path)
    for argv in (["id"], ["rollback-service", "api;id"], ["rollback-service", "--help"], ["rollback-service"]):
        with pytest.raises(CommandDeniedError):
            drill.rules.check(argv, "write", 1)
    assert command(drill, tmp_path, "deploy-service", "api", "2.0") == "0 api is now at 2.0"
    ((at, done),) = drill.commands
    assert done == "deploy api 2.0" and abs(time.time() - at) < 60


def test_a_rollback_before_the_first_release_fails(tmp_path: Path) -> None:
    drill = Drill(tmp_path)
    command(drill, tmp_path, "rollback-service", "api")
    assert command(drill, tmp_path, "rollback-service", "api").startswith("1 there is no release before")


def test_an_unusable_folder_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LoomOpsError, match="cannot start a drill"):
        Drill(tmp_path / "file")
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(LoomOpsError, match="Remove the folder to start over"):
        Drill(tmp_path)


def test_its_programs_do_not_read_the_folder_they_run_in(tmp_path: Path) -> None:
    drill = Drill(tmp_path / "d")
    (tmp_path / "json.py").write_text("raise SystemExit('hijacked')")
    ended = subprocess.run(
        [str(drill.folder / "bin" / "rollback-service"), "api"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert ended.stdout == "api is now at 2026.11.1\n"
