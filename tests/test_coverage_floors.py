"""The data of a test run is combined, also when a process was killed while it wrote its file."""

import sqlite3
from pathlib import Path

import coverage
import coverage_floors
import pytest


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the data files of two processes; each has run one file of its own."""
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        data = coverage.CoverageData(f".coverage.host.pid{number}.X")
        data.add_lines({str(tmp_path / f"module{number}.py"): range(1, 2000)})
        data.write()
    return tmp_path


def measured(folder: Path) -> tuple[set[str], list[str]]:
    """The files in the combined data, and the names of the broken data files."""
    run = coverage.Coverage(data_file=str(folder / ".coverage"), config_file=False)
    broken = coverage_floors.combine(run, folder)
    return {Path(name).name for name in run.get_data().measured_files()}, [path.name for path in broken]


def test_the_data_of_all_processes_is_combined(folder: Path) -> None:
    assert measured(folder) == ({"module1.py", "module2.py"}, [])


@pytest.mark.parametrize("kind", ["empty", "text", "cut", "damaged"])
def test_a_broken_data_file_is_left_out_and_deleted(folder: Path, kind: str) -> None:
    path = folder / ".coverage.host.pid1.X"
    whole = path.read_bytes()
    damaged = bytearray(whole)
    with sqlite3.connect(path) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'line_bits'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    damaged[(page - 1) * size : page * size] = b"\xff" * size
    path.write_bytes({"empty": b"", "text": b"no database", "cut": whole[: len(whole) // 2], "damaged": damaged}[kind])

    assert measured(folder) == ({"module2.py"}, [path.name])
    assert not path.exists()


def test_no_data_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(coverage.exceptions.NoDataError):
        measured(tmp_path)
