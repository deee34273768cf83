"""A small database that expands in memory, or nests without end."""

from __future__ import annotations

import json
import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import apsw
import zstandard
from loom_runner import Runs, SQLiteStore
from loom_runner.errors import RunnerError

from tests.redteam.area import Area

AREA = Area(
    "database_bombs",
    hole="""
import zstandard
def expand(self, frame, what):
    return zstandard.ZstdDecompressor().decompressobj().decompress(frame)
replace('loom_runner._store.cells', 'Cells._decompressed', expand)
""",
)

_MB = 1_000_000
_CAP = 64 * _MB
_STEPS = "step_key, outcome, attempts, started_at, ended_at, fence, state"


def _frame(size_bytes: int, *, recorded: bool = True) -> bytes:
    parts = zstandard.ZstdCompressor(level=1).compressobj(size=size_bytes if recorded else -1)
    out = [parts.compress(b'"')]
    for start in range(0, size_bytes - 2, _MB):
        out.append(parts.compress(b"a" * min(_MB, size_bytes - 2 - start)))
    return b"".join([*out, parts.compress(b'"'), parts.flush()])


def _database(folder: Path, states: list[str | bytes], steps: list[str | bytes] = []) -> Path:  # noqa: B006
    path = folder / "runs.sqlite"
    SQLiteStore(path).close()
    db = apsw.Connection(str(path))
    for number, state in enumerate(states):
        db.execute(
            "INSERT INTO runs (run_id, status, program, created_at, updated_at, input, state, result, step_index)"
            " VALUES (?, 'completed', 'loom-run/chat', 1, 1, '1', ?, '1', ?)",
            (f"r{number}", state, len(steps)),
        )
    for number, state in enumerate(steps):
        db.execute(f"INSERT INTO steps ({_STEPS}) VALUES ((1 << 32) + ?, 'c', 1, 1, 1, 1, ?)", (number, state))
    db.close()
    assert path.stat().st_size < 400_000
    return path


_READS: dict[str, Callable[[Runs], object]] = {
    "list": lambda runs: runs.list(),
    "history": lambda runs: runs.history("r0"),
    "explain": lambda runs: runs.explain("r0"),
}
_STATES = {
    "a state above the cap": lambda: b"z" + _frame(_CAP + 9),
    "a state without a size": lambda: b"z" + _frame(_CAP + 9, recorded=False),
}


def _read(path: Path, read: Callable[[Runs], object]) -> str | None:
    with SQLiteStore(path, read_only=True) as store:
        try:
            read(Runs(store))
        except RunnerError:
            return None
    return "it was read"


@AREA.attempt_each("read", [(f"{what}, {name}", what, name) for what in _STATES for name in _READS])
def _(folder: Path, case: tuple[str, str, str]) -> str | None:
    cell = _STATES[case[1]]()
    return _read(_database(folder, [cell], [cell]), _READS[case[2]])


@AREA.attempt("read: many states below the cap, list")
def _(folder: Path) -> str | None:
    return _read(_database(folder, [b"z" + _frame(50 * _MB)] * 6), _READS["list"])


@AREA.attempt("read: a difference above the cap, history")
def _(folder: Path) -> str | None:
    head = struct.pack(">cII", b"d", 9, 9) + struct.pack(">IIII", 0, 0, _CAP + 9, zlib.crc32(b""))
    return _read(_database(folder, ["1"], ['"x"', head + _frame(_CAP + 9)]), _READS["history"])


def _peak(folder: Path, module: str, *words: str) -> tuple[int, str]:
    """Run a command; return the most memory that it took, in MB, and what it wrote on stderr."""
    code = "import resource, subprocess, sys; p = subprocess.run(sys.argv[1:], stdout=-3, stderr=-1); "
    code += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024); print(p.stderr.decode())"
    ended = subprocess.run(
        [sys.executable, "-c", code, sys.executable, "-m", module, *words, "--db", "runs.sqlite"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (4_000 * _MB,) * 2),
    )
    megabytes, _, errors = ended.stdout.partition("\n")
    return int(megabytes), errors


@AREA.attempt_each(
    "memory",
    [
        ("loom-run runs", "loom_run", "runs"),
        ("loom-runner verify", "loom_runner", "verify"),
        ("loom-runner query", "loom_runner", "query", "SELECT randomblob(1000000000)"),
    ],
)
def _(folder: Path, case: tuple[str, ...]) -> str | None:
    _database(folder, [b"z" + _frame(1_000 * _MB)])
    megabytes, errors = _peak(folder, *case[1:])
    return f"{megabytes} MB" if megabytes > 300 or "Traceback" in errors else None


@AREA.attempt_each("deep JSON", [("list", "list"), ("history", "history", "r0"), ("trace", "trace", "r0")])
def _(folder: Path, case: tuple[str, ...]) -> str | None:
    deep = "[" * 150_000 + "]" * 150_000
    _database(folder, [b"z" + zstandard.compress(deep.encode())], [b"z" + zstandard.compress(deep.encode())])
    _, errors = _peak(folder, "loom_runner", *case[1:])
    return errors if "Traceback" in errors or "internal error" in errors else None


@AREA.attempt("a query that returns more than it may")
def _(folder: Path) -> str | None:
    with SQLiteStore(folder / "runs.sqlite") as store:
        numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 90)"
        for sql in (f"{numbers} SELECT zeroblob(9000000) AS b FROM n", "SELECT zeroblob(900000000) AS b"):
            try:
                found = Runs(store).query(sql)
            except RunnerError:
                continue
            return f"{len(json.dumps(found, default=str))} characters"
    return None
