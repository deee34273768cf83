"""A few bytes in a file never become gigabytes in memory."""

import json
import struct
import zlib
from pathlib import Path

import apsw
import pytest
import zstandard
from loom_runner import SQLiteStore
from loom_runner._cli.base import exit_code_of_command
from loom_runner._cli.main import main_group
from loom_runner._queries.views import step_views
from loom_runner._store.cells import DELTA_HEAD, MAX_TEXT_BYTES
from loom_runner.errors import StoreDamaged

MB = 1_000_000


def frame(size_bytes, *, recorded=True):
    """A JSON text of one character, repeated; made in parts, so that the test stays small, too."""
    compressor = zstandard.ZstdCompressor(level=1)
    parts = compressor.compressobj(size=size_bytes if recorded else -1)
    out = [parts.compress(b'"')]
    left = size_bytes - 2
    while left:
        part = min(left, MB)
        out.append(parts.compress(b"a" * part))
        left -= part
    return b"".join([*out, parts.compress(b'"'), parts.flush()])


@pytest.fixture
def path(tmp_path):
    path = str(tmp_path / "runs.sqlite")
    SQLiteStore(path).close()
    return path


def insert_run(path, state, run_id="r", steps=0):
    db = apsw.Connection(path)
    db.execute(
        "INSERT INTO runs (run_id, status, program, created_at, updated_at, input, state, step_index)"
        " VALUES (?, 'completed', 'p', 1, 1, '1', ?, ?)",
        (run_id, state, steps),
    )
    db.close()


@pytest.mark.parametrize("recorded", [True, False])
def test_a_frame_above_the_limit_or_without_a_size_is_refused_before_it_is_decompressed(path, recorded, monkeypatch):
    insert_run(path, b"z" + frame(MAX_TEXT_BYTES + 1, recorded=recorded))
    monkeypatch.setattr(zstandard, "ZstdDecompressor", lambda *_, **__: pytest.fail("it decompresses"))
    with SQLiteStore(path, read_only=True) as store, pytest.raises(StoreDamaged) as caught:
        store.reader.list_runs()
    assert "the state of run r" in str(caught.value)
    assert ("above the limit of 64" if recorded else "its size is not recorded") in str(caught.value)


def test_a_store_that_writes_larger_states_reads_them(path):
    insert_run(path, b"z" + frame(MAX_TEXT_BYTES + 1))
    with SQLiteStore(path, max_state_bytes=MAX_TEXT_BYTES + 1) as store:
        assert len(store.reader.get_run("r").state) == MAX_TEXT_BYTES + 1


def test_rows_that_are_read_together_are_refused_when_they_expand_too_much(path):
    for number in range(5):
        insert_run(path, b"z" + frame(50 * MB), f"r{number}")
    assert Path(path).stat().st_size < 300_000
    with SQLiteStore(path, read_only=True) as store:
        with pytest.raises(StoreDamaged, match=r"expand to .* in the rows read with it"):
            store.reader.list_runs()
        assert len(store.reader.get_run("r0").state) == 50 * MB


def test_a_page_of_steps_with_large_states_ends_early(path):
    insert_run(path, "1", steps=5)
    db = apsw.Connection(path)
    columns = "step_key, outcome, attempts, started_at, ended_at, fence, state"
    for number in range(5):
        db.execute(
            f"INSERT INTO steps ({columns}) VALUES ((1 << 32) + ?, 'c', 1, 1, 1, 1, ?)",
            (number, b"z" + frame(40 * MB)),
        )
    db.close()
    with SQLiteStore(path, read_only=True) as store:
        assert [step.step_index for step in store.reader.steps("r")] == [0, 1]
        assert [step.step_index for step in store.reader.steps("r", first=2)] == [2, 3]


def test_a_difference_that_expands_too_much_is_refused_before_it_is_decompressed(path, monkeypatch):
    insert_run(path, "1", steps=2)
    head = struct.pack(">IIII", 0, 0, MAX_TEXT_BYTES + 1, zlib.crc32(b""))
    delta = DELTA_HEAD.pack(b"d", 9, 9) + head + frame(MAX_TEXT_BYTES + 1)
    db = apsw.Connection(path)
    columns = "step_key, outcome, attempts, started_at, ended_at, fence, state"
    for number, cell in enumerate(('"1"', delta)):
        db.execute(f"INSERT INTO steps ({columns}) VALUES ((1 << 32) + ?, 'c', 1, 1, 1, 1, ?)", (number, cell))
    db.close()
    with SQLiteStore(path, read_only=True) as store:
        monkeypatch.setattr(zstandard, "ZstdDecompressor", lambda *_, **__: pytest.fail("it decompresses"))
        with pytest.raises(StoreDamaged, match="expands to 64,000,001 bytes"):
            store.reader.state_after("r", 1)


def test_values_that_are_nested_too_deeply_are_an_error_of_one_line(path, capsys):
    deep = "[" * 200_000 + "]" * 200_000
    insert_run(path, deep, steps=1)
    db = apsw.Connection(path)
    columns = "step_key, outcome, attempts, started_at, ended_at, fence, state"
    db.execute(f"INSERT INTO steps ({columns}) VALUES ((1 << 32), 'c', 1, 1, 1, 1, ?)", (deep,))
    db.close()
    with SQLiteStore(path, read_only=True) as store, pytest.raises(StoreDamaged, match="nested too deeply"):
        step_views(store.reader, "r")
    for words in (["history", "r"], ["list"], ["show", "r"], ["verify"], ["explain", "r"], ["export", "r"]):
        exit_code_of_command(main_group, [*words, "--db", path], "loom-runner")
        out = capsys.readouterr()
        assert "Traceback" not in out.err
        assert "internal error" not in out.err


def test_a_query_is_bounded(path):
    from loom_runner import Runs, UsageError

    with SQLiteStore(path) as store:
        runs = Runs(store)
        for sql in ("SELECT randomblob(1000000000)", "SELECT zeroblob(1000000000)", "SELECT printf('%999999999d', 1)"):
            with pytest.raises(UsageError, match="cannot query: "):
                runs.query(sql)
        numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50) SELECT i, {} FROM n"
        with pytest.raises(UsageError, match="the result is larger than 64"):
            runs.query(numbers.format("zeroblob(5000000) AS b"))
        assert json.dumps(runs.query(numbers.format("1 AS one")))
