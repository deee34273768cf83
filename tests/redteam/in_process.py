"""Commands of loom-ops in this process, which is fast; and changes of a database by SQL."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

import apsw
from loom_ops._cli.main import cli
from loom_runner.cli_base import run_command

__all__ = ["change", "loom_ops_here"]


@contextlib.contextmanager
def _in(folder: Path) -> Iterator[None]:
    home = folder.parent / f"{folder.name}-home"
    home.mkdir(exist_ok=True)
    set_here = {"LOOM_OPS_ALLOW_SHELL": "1", "XDG_CONFIG_HOME": str(home)}
    before, variables = Path.cwd(), {name: os.environ.get(name) for name in set_here}
    os.chdir(folder)
    os.environ |= set_here
    try:
        yield
    finally:
        os.chdir(before)
        for name, value in variables.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def loom_ops_here(folder: Path, *words: str) -> tuple[int, str]:
    """Run a command; return its exit code and everything that it wrote."""
    written = io.StringIO()
    with _in(folder), contextlib.redirect_stdout(written), contextlib.redirect_stderr(written):
        try:
            code = run_command(cli, words, name="loom-ops")
        except SystemExit as exc:
            code = exc.code if isinstance(exc.code, int) else 1
    return int(code or 0), written.getvalue()


def change(site: Path, sql: str) -> None:
    """Change the database of a site; SQL that changes nothing is a mistake of the attempt."""
    db = apsw.Connection(str(site / "ops.sqlite"))
    db.execute("PRAGMA foreign_keys = OFF")
    before = db.total_changes() + db.pragma("schema_version")
    db.execute(sql)
    assert db.total_changes() + db.pragma("schema_version") > before, "nothing was changed"
    db.close()
