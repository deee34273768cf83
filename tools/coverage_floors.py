"""Hold each package to its own floor of branch coverage: `[tool.loom.coverage_floor]` in
pyproject.toml, in percent.

One number for the whole tree would let a well-tested package hide an untested one. The data files
of all processes of the test run (`.coverage.*`) are combined first. A process that was killed while
it wrote its file leaves a broken one: it is reported, deleted and left out. Exit code 1 when a
package is below its floor or has none.
"""

import io
import json
import sqlite3
import sys
import tomllib
from pathlib import Path

import coverage

ROOT = Path(__file__).resolve().parent.parent


def is_whole(path: Path) -> bool:
    """Tell whether a data file can be read to its end."""
    connection = sqlite3.connect(path)
    try:
        connection.execute("SELECT version FROM coverage_schema").fetchone()
        return bool(connection.execute("PRAGMA integrity_check").fetchone() == ("ok",))
    except sqlite3.DatabaseError:
        return False
    finally:
        connection.close()


def combine(data: coverage.Coverage, folder: Path) -> list[Path]:
    """Combine the data files in a folder; return those that were broken, which are deleted."""
    files = [
        path for path in sorted(folder.glob(".coverage.*")) if not path.name.endswith(("-journal", "-wal", "-shm"))
    ]
    broken = [path for path in files if not is_whole(path)]
    for path in broken:
        path.unlink()
    data.combine([str(path) for path in files if path not in broken], strict=True)
    data.save()
    return broken


def percent(data: coverage.Coverage, source: Path) -> float:
    """Percentage of lines and branches of that folder which ran, as coverage.py computes it."""
    target = ROOT / "build" / f"coverage-{source.name}.json"
    target.parent.mkdir(exist_ok=True)
    data.json_report(outfile=str(target), include=[f"{source}/*"])
    return float(json.loads(target.read_text())["totals"]["percent_covered"])


def main() -> int:
    floors = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["loom"]["coverage_floor"]
    data = coverage.Coverage(config_file=str(ROOT / "pyproject.toml"))
    for path in combine(data, ROOT):
        print(f"coverage  {path.name} is broken and left out: its process was killed while it wrote")
    below = 0
    for init in sorted(ROOT.glob("[pas]*/*/src/*/__init__.py")):
        name, source = init.parent.name, init.parent
        floor = floors.get(name)
        try:
            reached = percent(data, source)
        except coverage.exceptions.NoDataError:
            print(f"coverage  {name:<22} no test imports it")
            below += 1
            continue
        good = floor is not None and reached >= floor
        verdict = "" if good else "   BELOW"
        print(f"coverage  {name:<22} {reached:5.1f} %   floor {'missing' if floor is None else floor}{verdict}")
        if not good:
            below += 1
            report = io.StringIO()
            data.report(include=[f"{source}/*"], file=report)
            print(report.getvalue())
    return 1 if below else 0


if __name__ == "__main__":
    sys.exit(main())
