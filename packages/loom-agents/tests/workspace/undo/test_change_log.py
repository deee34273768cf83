import base64
import errno
import os
import stat
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from loom_agents._errors import AgentError, ToolError
from loom_agents._workspace.jail import Workspace
from loom_agents._workspace.undo import change_log
from loom_agents._workspace.undo.change_log import ChangeLog
from loom_agents._workspace.undo.change_rows import Change, FileChange, Plan
from loom_agents._workspace.undo.file_images import Image, put, take
from loom_agents._workspace.write.tools import WriteTools

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Killed(BaseException):
    """Replaces SIGKILL in a test; nothing catches it."""


@pytest.fixture
def log(tmp_path: Path) -> ChangeLog:
    return ChangeLog(tmp_path / "log", now=lambda: NOON)


def _plan(workspace: Workspace, **files: str | None) -> Callable[[], Plan]:
    def plan() -> Plan:
        changes = []
        for name, text in files.items():
            path = name.replace("__", "/")
            after = None if text is None else Image(text.encode())
            changes.append(FileChange(path, take(workspace, path), after))
        return Plan(changes, {"files": sorted(files)})

    return plan


def _make(log: ChangeLog, workspace: Workspace, key: str, run: str = "demo", **files: str | None) -> Any:
    return log.apply(workspace, key=key, run_id=run, tool="write", plan=_plan(workspace, **files))


def _text(workspace: Workspace, path: str) -> str | None:
    file = workspace.root / path
    return file.read_text() if file.exists() else None


def _fail_put(monkeypatch: pytest.MonkeyPatch, at: int, error: BaseException) -> None:
    """Let the `at`th call of `put` fail, or the `-at`th one after it has written the file."""
    count = 0

    def failing(*args: Any, **named: Any) -> None:
        nonlocal count
        count += 1
        if count == at:
            raise error
        put(*args, **named)
        if count == -at:
            raise error

    monkeypatch.setattr(change_log, "put", failing)


def test_the_same_key_changes_once_and_answers_twice(log: ChangeLog, workspace: Workspace) -> None:
    first = _make(log, workspace, "k", a="1\n")
    (workspace.root / "a").write_text("by hand\n")
    assert _make(log, workspace, "k", a="2\n") == first
    assert _text(workspace, "a") == "by hand\n"


@pytest.mark.parametrize("at", [1, 2, 3, -1, -2, -3])
def test_killed_at_any_file_the_next_attempt_finishes_the_change(
    log: ChangeLog, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    (workspace.root / "gone").write_text("x\n")
    files: dict[str, str | None] = {"a__b": "1\n", "README.md": "2\n", "gone": None}
    with monkeypatch.context() as patched, pytest.raises(Killed):
        _fail_put(patched, at, Killed())
        _make(log, workspace, "k", **files)
    _make(log, workspace, "k", **files)
    assert [_text(workspace, path) for path in ("a/b", "README.md", "gone")] == ["1\n", "2\n", None]
    log.undo("demo", workspace)
    assert _text(workspace, "a/b") is None
    assert not (workspace.root / "a").exists()
    assert _text(workspace, "gone") == "x\n"


def test_killed_while_a_file_is_written_no_part_of_it_stays(
    log: ChangeLog, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(workspace.root.iterdir())
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr("os.rename", lambda *a, **k: (_ for _ in ()).throw(Killed()))
        _make(log, workspace, "k", a="1\n")
    assert _text(workspace, "a") is None
    _make(log, workspace, "k", a="1\n")
    assert set(workspace.root.iterdir()) == before | {workspace.root / "a"}


def test_a_file_that_someone_changed_between_the_attempts_is_kept(
    log: ChangeLog, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched, pytest.raises(Killed):
        _fail_put(patched, -1, Killed())
        _make(log, workspace, "k", a="1\n", b="2\n")
    (workspace.root / "b").write_text("mine\n")
    with pytest.raises(ToolError, match="'b': someone else changed it in the meantime. Nothing was changed"):
        _make(log, workspace, "k", a="1\n", b="2\n")
    assert (_text(workspace, "a"), _text(workspace, "b")) == (None, "mine\n")
    assert log.active("demo") == []


def test_a_full_disk_changes_nothing_and_the_next_attempt_starts_again(
    log: ChangeLog, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched, pytest.raises(ToolError, match="No space left.*Nothing was changed"):
        _fail_put(patched, 2, OSError(errno.ENOSPC, "No space left on device"))
        _make(log, workspace, "k", a="1\n", b="2\n")
    assert (_text(workspace, "a"), _text(workspace, "b")) == (None, None)
    _make(log, workspace, "k", a="1\n", b="2\n")
    assert (_text(workspace, "a"), _text(workspace, "b")) == ("1\n", "2\n")


def test_files_that_cannot_be_restored_are_reported_and_undone_later(
    log: ChangeLog, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(space: Workspace, path: str, *rest: Any, **named: Any) -> None:
        if path == "b" or not (space.root / "a").exists():
            put(space, path, *rest, **named)
        if path == "b" or rest == (None,):
            raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patched, pytest.raises(ToolError, match="cannot be restored.*Read-only"):
        patched.setattr(change_log, "put", refuse)
        _make(log, workspace, "k", a="1\n", b="2\n")
    assert [change.status for change in log.active("demo")] == ["intended"]
    log.undo("demo", workspace)
    assert (_text(workspace, "a"), _text(workspace, "b")) == (None, None)


def test_undo_reverts_the_latest_change_then_the_one_before(log: ChangeLog, workspace: Workspace) -> None:
    _make(log, workspace, "1", a="1\n")
    _make(log, workspace, "2", a="2\n")
    (undone,) = log.undo("demo", workspace)
    assert (undone.number, undone.at, [f.path for f in undone.files]) == (2, "2026-01-01T12:00:00.000000Z", ["a"])
    assert _text(workspace, "a") == "1\n"
    assert len(log.undo("demo", workspace)) == 1
    assert _text(workspace, "a") is None
    assert log.undo("demo", workspace) == []


def test_undo_of_all_changes_restores_the_first_state(log: ChangeLog, workspace: Workspace) -> None:
    for key, text in enumerate(("1\n", "2\n", "3\n")):
        _make(log, workspace, str(key), a=text, README__md=text)
    assert len(log.undo("demo", workspace, every=True)) == 3
    assert (_text(workspace, "a"), _text(workspace, "README/md")) == (None, None)


def test_undo_refuses_when_the_file_was_changed_since_unless_forced(log: ChangeLog, workspace: Workspace) -> None:
    _make(log, workspace, "1", b="1\n")
    _make(log, workspace, "2", a="1\n")
    (workspace.root / "b").write_text("mine\n")
    with pytest.raises(ToolError, match=r"undo change 1 \(write b\): the file was changed since"):
        log.undo("demo", workspace, every=True)
    assert _text(workspace, "a") == "1\n"
    log.undo("demo", workspace, every=True, force=True)
    assert (_text(workspace, "a"), _text(workspace, "b")) == (None, None)


@pytest.mark.parametrize("at", [1, -1, 2, -2])
def test_a_killed_undo_continues(
    log: ChangeLog, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    _make(log, workspace, "1", a="1\n", b="1\n")
    with monkeypatch.context() as patched, pytest.raises(Killed):
        _fail_put(patched, at, Killed())
        log.undo("demo", workspace)
    assert len(log.undo("demo", workspace)) == 1
    assert (_text(workspace, "a"), _text(workspace, "b"), log.undo("demo", workspace)) == (None, None, [])


def test_a_call_that_was_undone_is_not_repeated(log: ChangeLog, workspace: Workspace) -> None:
    _make(log, workspace, "1", a="1\n")
    log.undo("demo", workspace)
    with pytest.raises(ToolError, match="made before and then undone"):
        _make(log, workspace, "1", a="1\n")


def test_changes_of_children_are_included_and_those_of_other_runs_are_not(log: ChangeLog, workspace: Workspace) -> None:
    for run in ("team", "team:sub:coder", "team2", "te"):
        _make(log, workspace, run, run, **{run.replace(":", "_"): "x\n"})
    assert log.changed_paths("team") == ["team", "team_sub_coder"]
    assert [change.run_id for change in log.active("team")] == ["team:sub:coder", "team"]
    assert [change.run_id for change in log.active("team", latest=1)] == ["team:sub:coder"]
    assert ChangeLog(log.path.with_name("none")).active("team") == []
    assert ChangeLog(log.path.with_name("none")).changed_paths("team") == []


def test_concurrent_edits_of_one_file_all_take_effect(log: ChangeLog, workspace: Workspace) -> None:
    (workspace.root / "many").write_text("".join(f"line {n}\n" for n in range(8)))
    tools = WriteTools(workspace, log)
    threads = [
        threading.Thread(target=tools.edit_file, args=("many", f"line {n}\n", f"LINE {n}\n", f"k{n}")) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _text(workspace, "many") == "".join(f"LINE {n}\n" for n in range(8))


def test_a_log_that_is_damaged_or_too_new_is_an_error(log: ChangeLog, workspace: Workspace) -> None:
    log.path.write_bytes(b"x" * 5000)
    with pytest.raises(AgentError, match="is damaged"):
        _make(log, workspace, "1", a="1\n")
    log.path.unlink()
    _make(log, workspace, "1", a="1\n")
    import apsw

    apsw.Connection(str(log.path)).pragma("user_version", 9)
    with pytest.raises(AgentError, match="its format is 9"):
        log.undo("demo", workspace)


def test_a_log_that_cannot_be_written_prevents_the_change(workspace: Workspace, tmp_path: Path) -> None:
    log = ChangeLog(tmp_path / "no-folder" / "log")
    with pytest.raises(AgentError, match="cannot open"):
        _make(log, workspace, "1", a="1\n")
    assert _text(workspace, "a") is None


def test_a_stored_change_reads_back_as_it_was(log: ChangeLog, workspace: Workspace) -> None:
    _make(log, workspace, "1", a="1\n")
    (change,) = log.active("demo")
    assert change == Change(
        1,
        "1",
        "demo",
        "write",
        str(workspace.root),
        "2026-01-01T12:00:00.000000Z",
        "done",
        {"files": ["a"]},
        (FileChange("a", None, Image(b"1\n")),),
    )


def test_other_users_cannot_read_stored_contents(
    log: ChangeLog, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = workspace.root / "private.txt"
    secret.write_text("before\n")
    secret.chmod(0o600)
    modes = []

    def watch(*names: Any, src_dir_fd: int, dst_dir_fd: int) -> None:
        modes.append(stat.S_IMODE(os.stat(names[0], dir_fd=src_dir_fd).st_mode))
        rename(*names, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    rename = os.rename
    monkeypatch.setattr("os.rename", watch)
    _make(log, workspace, "1", **{"private.txt": "after\n"})
    assert modes == [0o600]
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600


def test_the_log_of_an_encrypted_database_is_encrypted(
    log: ChangeLog, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOM_RUNNER_KEY", "one:" + base64.b64encode(b"k" * 32).decode())
    (workspace.root / "a").write_text("canary before\n")
    sealed = ChangeLog(log.path)
    sealed.apply(
        workspace,
        key="1",
        run_id="demo",
        tool="write",
        plan=lambda: Plan([FileChange("a", take(workspace, "a"), Image(b"canary after\n"))], {"diff": "canary"}),
    )
    assert b"canary" not in log.path.read_bytes()
    assert sealed.active("demo")[0].answer == {"diff": "canary"}
    monkeypatch.delenv("LOOM_RUNNER_KEY")
    with pytest.raises(AgentError, match="LOOM_RUNNER_KEY"):
        ChangeLog(log.path).undo("demo", workspace)
    monkeypatch.setenv("LOOM_RUNNER_KEY", "two:" + base64.b64encode(b"z" * 32).decode())
    with pytest.raises(AgentError, match="LOOM_RUNNER_KEY"):
        ChangeLog(log.path).undo("demo", workspace)
    sealed.undo("demo", workspace)
    assert _text(workspace, "a") == "canary before\n"


def test_a_recreated_database_does_not_use_the_changes_of_the_old_one(log: ChangeLog, workspace: Workspace) -> None:
    first = ChangeLog(log.path, created_at=lambda run: "monday")
    second = ChangeLog(log.path, created_at=lambda run: "tuesday")
    _make(first, workspace, "k", a="1\n")
    (workspace.root / "a").unlink()
    _make(second, workspace, "k", a="2\n")
    assert _text(workspace, "a") == "2\n"
    assert [change.number for change in second.active("demo")] == [2]
    assert second.changed_paths("demo") == ["a"]
    assert first.call_name("k", "demo") != second.call_name("k", "demo")
    second.undo("demo", workspace, every=True)
    assert _text(workspace, "a") is None


@pytest.mark.parametrize("path", ["../outside/k", ".ssh/k", "link/k", ".env", "/etc/k"])
@pytest.mark.parametrize("verb", ["undo", "repeat"])
def test_a_stored_path_passes_the_jail(log: ChangeLog, workspace: Workspace, path: str, verb: str) -> None:
    outside = workspace.root.parent / "outside"
    outside.mkdir()
    (workspace.root / "link").symlink_to(outside)
    (workspace.root / "k").write_text("old\n")
    _make(log, workspace, "1", k=None)
    with log._rows._opened() as rows:
        rows.execute("UPDATE file SET path = ?", [path])
        rows.execute("UPDATE change SET status = ?", ["intended" if verb == "repeat" else "done"])
    with pytest.raises(ToolError, match="cannot use"):
        log.undo("demo", workspace, force=True) if verb == "undo" else _make(log, workspace, "1", k=None)
    assert not list(outside.iterdir())


def test_a_stored_root_is_compared_and_not_used(log: ChangeLog, workspace: Workspace, tmp_path: Path) -> None:
    _make(log, workspace, "1", a="x\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with pytest.raises(ToolError, match=f"it was made in {workspace.root}, and this is {elsewhere}"):
        log.undo("demo", Workspace.at(elsewhere))
    assert _text(workspace, "a") == "x\n"


def test_what_is_undone_is_shown_before_it_is_written(log: ChangeLog, workspace: Workspace) -> None:
    _make(log, workspace, "1", a="x\n")
    shown: list[tuple[object, str | None]] = []
    log.undo("demo", workspace, show=lambda files: shown.append((files, _text(workspace, "a"))))
    assert shown == [([("a", "created")], "x\n")]


def test_a_log_with_a_trigger_is_refused_by_its_name(log: ChangeLog, workspace: Workspace) -> None:
    _make(log, workspace, "1", a="x\n")
    with log._rows._opened() as rows:
        rows.execute("CREATE TRIGGER evil AFTER UPDATE ON change BEGIN DELETE FROM file; END")
    with pytest.raises(AgentError, match="trigger 'evil' on 'change' that is not of loom"):
        log.undo("demo", workspace)
