"""Which runbook fits an incident: by name, by file, or by the words that runbooks say they are for."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from loom_ops._errors import LoomOpsError, RunbookError
from loom_ops._parse import parse_runbook, read_text

if TYPE_CHECKING:
    from loom_ops._runbook import Runbook
    from loom_ops._site import Site

__all__ = ["choose_runbook", "find_runbook", "known_runbooks"]


def known_runbooks(site: Site) -> list[tuple[str, str]]:
    """Return the name and the text of every runbook: the site's own, then the starters that it does not replace."""
    found: dict[str, str] = {}
    if site.runbooks.is_dir():
        for path in sorted(site.runbooks.glob("*.md")):
            shown = str(path.relative_to(site.folder)) if path.is_relative_to(site.folder) else str(path)
            found[path.stem] = read_text(path, shown)
    own = {name: (str(site.runbooks.name) + f"/{name}.md", text) for name, text in found.items()}
    for starter in sorted(files("loom_ops").joinpath("runbooks").iterdir(), key=lambda entry: entry.name):
        name = starter.name.removesuffix(".md")
        if starter.name.endswith(".md") and name not in own:
            own[name] = (f"starter:{name}.md", starter.read_text(encoding="utf-8"))
    return list(own.values())


def find_runbook(site: Site, named: str) -> tuple[str, str]:
    """Return the source and the text of a runbook that the user named: a file, or a name without the ending.

    Raises:
        LoomOpsError: There is none.
    """
    known = {Path(source.removeprefix("starter:")).stem: (source, text) for source, text in known_runbooks(site)}
    if named in known:
        return known[named]
    path = Path(named)
    if path.suffix == ".md" or path.exists():
        return named, read_text(path, named)
    raise LoomOpsError(f"cannot find the runbook {named!r}: there is none of this name. There are: {', '.join(known)}.")


def choose_runbook(site: Site, incident: str) -> tuple[str, str]:
    """Return the source and the text of the runbook that fits an incident best.

    Raises:
        LoomOpsError: None fits.
        RunbookError: A runbook of the site has errors; it could be the one that is needed.
    """
    words = set(re.findall(r"[a-z0-9]+", incident.lower()))
    best: tuple[int, str, str] | None = None
    names = []
    for source, text in known_runbooks(site):
        runbook, problems = parse_runbook(text, source)
        if runbook is None:
            raise RunbookError(source, [problem for problem in problems if problem.severity == "error"])
        names.append(runbook.name)
        score = _score(runbook, words)
        if score and (best is None or score > best[0]):
            best = (score, source, text)
    if best is None:
        raise LoomOpsError(
            f"cannot choose a runbook for {incident[:80]!r}: none is for any of its words. "
            f"Name one with --runbook: {', '.join(names)}."
        )
    return best[1], best[2]


def _score(runbook: Runbook, words: set[str]) -> int:
    title = set(re.findall(r"[a-z0-9]+", runbook.title.lower()))
    return 2 * len(words & set(runbook.match)) + len(words & title)
