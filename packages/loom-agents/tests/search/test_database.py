"""What happens to the database of an index: kept, killed, shared, locked, damaged, not ours."""

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
from loom_agents.search import DocumentIndex, IndexReport, SearchError

OLD_NS = 1_700_000_000_000_000_000
FILES = 30


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "docs"
    root.mkdir()
    for number in range(FILES):
        file = root / f"{number}.md"
        file.write_text(f"# Title {number}\n\nwhale{number} and all whales\n" + "word " * 300)
        os.utime(file, ns=(OLD_NS, OLD_NS))
    return root


@pytest.fixture
def database(tmp_path: Path, root: Path) -> Path:
    database = tmp_path / "index.sqlite"
    with DocumentIndex(database, root) as index:
        index.refresh()
    return database


def refreshed(database: Path, root: Path) -> IndexReport:
    """Open and refresh an index, and check that it then has each document once."""
    with DocumentIndex(database, root) as index:
        report = index.refresh()
        assert index.search("whales", limit=50).total == FILES
        assert index.health().files == FILES
    return report


def test_an_index_is_kept_and_belongs_to_the_user_alone(database: Path, root: Path) -> None:
    report = refreshed(database, root)
    assert (report.unchanged, report.added, report.rebuilt) == (FILES, (), None)
    assert stat.S_IMODE(database.stat().st_mode) == 0o600


def test_a_process_that_is_killed_leaves_an_index_that_continues(tmp_path: Path, root: Path) -> None:
    database = tmp_path / "index.sqlite"
    code = (
        "import os, sys; from pathlib import Path; from loom_agents._search import refresh\n"
        "from loom_agents.search import DocumentIndex\n"
        "refresh._BATCH_FILES = 10\n"
        "def killed(done, total, path):\n    if done == 15: os.kill(os.getpid(), 9)\n"
        "DocumentIndex(Path(sys.argv[1]), Path(sys.argv[2])).refresh(killed)\n"
    )
    child = subprocess.run([sys.executable, "-c", code, database, root], check=False)
    assert child.returncode == -signal.SIGKILL
    report = refreshed(database, root)
    assert (report.unchanged, len(report.added), report.rebuilt) == (10, FILES - 10, None)


def test_two_at_once_wait_for_each_other_and_index_each_file_once(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from loom_agents._search import refresh

    monkeypatch.setattr(refresh, "_BATCH_FILES", 3)
    database = tmp_path / "index.sqlite"
    errors: list[BaseException] = []
    start = threading.Barrier(3)

    def index() -> None:
        try:
            start.wait()
            with DocumentIndex(database, root) as index:
                index.refresh()
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=index) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert refreshed(database, root).unchanged == FILES


def test_an_index_that_is_locked_is_an_error_after_a_limited_wait(database: Path, root: Path) -> None:
    (root / "new.md").write_text("# New\n")
    other = apsw.Connection(str(database))
    other.execute("BEGIN IMMEDIATE")
    with DocumentIndex(database, root, lock_timeout_s=0.1) as index:
        with pytest.raises(SearchError, match=r"another process has locked it for 0\.1 s"):
            index.refresh()
        assert index.search("whale7").total == 1  # reading goes on
        other.execute("ROLLBACK")
        assert index.refresh().added == ("new.md",)
    other.close()


def _header(file: Path) -> None:
    with file.open("r+b") as handle:
        handle.write(b"garbage" * 10)


def _truncated(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def _pages(file: Path) -> None:
    with file.open("r+b") as handle:
        handle.seek(8 * 4096)
        handle.write(b"\xff" * (file.stat().st_size - 8 * 4096))


def _trigger(file: Path) -> None:
    db = apsw.Connection(str(file))
    db.execute("CREATE TRIGGER t AFTER INSERT ON loom_search_file BEGIN DELETE FROM loom_search_meta; END")
    db.close()


@pytest.mark.parametrize("damage", [_header, _truncated, _trigger])
def test_a_damaged_index_is_renamed_and_made_again(database: Path, root: Path, damage: Callable[[Path], None]) -> None:
    damage(database)
    report = refreshed(database, root)
    assert report.rebuilt is not None and "the old file is index.sqlite.damaged-1" in report.rebuilt
    assert len(report.added) == FILES
    assert database.with_name("index.sqlite.damaged-1").exists()
    assert refreshed(database, root).rebuilt is None


def test_damage_that_a_search_finds_is_repaired_before_it_answers(database: Path, root: Path) -> None:
    with DocumentIndex(database, root) as index:
        _pages(database)
        found = index.search("whale7")
        assert [match.path for match in found.matches] == ["7.md"]
        assert "made again: it is damaged; the old file is index.sqlite.damaged-1" in found.notes[0]
        assert index.refresh().rebuilt is not None and index.search("whales").notes == ()


@pytest.mark.parametrize("remains", [True, False])
def test_an_index_that_is_deleted_or_replaced_while_it_is_open_is_made_again(
    database: Path, root: Path, remains: bool
) -> None:
    with DocumentIndex(database, root) as index:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{database}{suffix}").unlink(missing_ok=True)
        if remains:
            DocumentIndex(database, root).close()
        report = index.refresh()
        assert report.rebuilt == "the database was deleted or replaced"
        assert index.search("whale7").matches[0].path == "7.md"
    assert refreshed(database, root).unchanged == FILES


def test_an_index_of_an_older_format_is_emptied(database: Path, root: Path) -> None:
    db = apsw.Connection(str(database))
    db.execute("ALTER TABLE loom_search_file ADD COLUMN old")
    db.execute("PRAGMA user_version = 0")
    db.close()
    assert refreshed(database, root).rebuilt == "its format was older"


def test_another_chunk_size_or_folder_is_indexed_again_and_said(database: Path, root: Path) -> None:
    with DocumentIndex(database, root, chunk_size=400) as index:
        report = index.refresh()
        assert report.rebuilt == "the sizes of chunks changed from 1800/0 to 400/0" and len(report.changed) == FILES
    other = root.rename(root.with_name("other"))
    (other / "3.md").write_text((other / "3.md").read_text().replace("whale3", "shark"))
    os.utime(other / "3.md", ns=(OLD_NS, OLD_NS))
    with DocumentIndex(database, other, chunk_size=400) as index:
        report = index.refresh()
        assert report.rebuilt is not None and report.rebuilt.startswith("the folder changed from")
        assert report.changed == ("3.md",)


def _text(file: Path) -> None:
    file.write_text("my thesis\n" * 100)


def _other_database(file: Path) -> None:
    db = apsw.Connection(str(file))
    db.execute("CREATE TABLE mine (x)")
    db.close()


def _newer(file: Path) -> None:
    DocumentIndex(file, file.parent).close()
    db = apsw.Connection(str(file))
    db.execute("PRAGMA user_version = 99")
    db.close()


@pytest.mark.parametrize(
    ("make", "why"),
    [(_text, "not a database"), (_other_database, "of another program"), (_newer, "format 99"), (Path.mkdir, "no")],
)
def test_a_file_that_is_no_index_is_refused_and_left_alone(
    tmp_path: Path, root: Path, make: Callable[[Path], None], why: str
) -> None:
    file = tmp_path / "x"
    make(file)
    before = file.read_bytes() if file.is_file() else b""
    with pytest.raises(SearchError, match=why) as caught:
        DocumentIndex(file, root)
    assert "\n" not in str(caught.value)
    assert (file.read_bytes() if file.is_file() else b"") == before
    assert not list(tmp_path.glob("x.*"))


def test_an_empty_file_becomes_an_index_and_a_missing_folder_is_an_error(tmp_path: Path, root: Path) -> None:
    (tmp_path / "x").touch()
    assert refreshed(tmp_path / "x", root).rebuilt is None
    with pytest.raises(SearchError, match="cannot open the index .*: No such file or directory"):
        DocumentIndex(tmp_path / "no" / "x", root)


def test_an_error_of_the_callback_stops_the_refresh_and_keeps_the_index(tmp_path: Path, root: Path) -> None:
    def cancelled(done: int, total: int, path: str) -> None:
        raise KeyboardInterrupt

    with DocumentIndex(tmp_path / "x", root) as index:
        with pytest.raises(KeyboardInterrupt):
            index.refresh(cancelled)
        assert len(index.refresh().added) == FILES
