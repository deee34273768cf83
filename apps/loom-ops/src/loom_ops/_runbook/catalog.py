"""Find a runbook: by name, by file, or by the words of an incident."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from loom_ops._errors import LoomOpsError
from loom_ops._runbook.model import STARTER_PREFIX
from loom_ops._runbook.parse import read_text, require_runbook

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loom_ops._runbook.model import Runbook
    from loom_ops._site import Site

__all__ = ["choose_runbook", "find_runbook", "known_runbooks", "runbook_name", "served_runbook", "served_runbooks"]


def known_runbooks(site: Site) -> list[tuple[str, str]]:
    """Return source and text of every runbook: those of the site, then the other starters."""
    own: dict[str, tuple[str, str]] = {}
    if site.runbooks.is_dir():
        for path in sorted(site.runbooks.glob("*.md")):
            shown = str(path.relative_to(site.folder)) if path.is_relative_to(site.folder) else str(path)
            own[path.stem] = (f"{site.runbooks.name}/{path.name}", read_text(path, shown))
    for starter in sorted(files("loom_ops").joinpath("runbooks").iterdir(), key=lambda entry: entry.name):
        name = starter.name.removesuffix(".md")
        if starter.name.endswith(".md") and name not in own:
            own[name] = (f"{STARTER_PREFIX}{name}.md", starter.read_text(encoding="utf-8"))
    return list(own.values())


def runbook_name(source: str) -> str:
    """Return the name of the runbook of a source."""
    return Path(source.removeprefix(STARTER_PREFIX)).stem


def find_runbook(site: Site, named: str) -> tuple[str, str]:
    """Return source and text of a runbook that the user named: a file, or a name without suffix.

    Raises:
        LoomOpsError: There is no such runbook.
    """
    known = {runbook_name(source): (source, text) for source, text in known_runbooks(site)}
    if named in known:
        return known[named]
    path = Path(named)
    if path.suffix == ".md" or path.exists():
        return named, read_text(path, named)
    raise LoomOpsError(
        f"cannot find the runbook {named!r}: there is none of that name. Known runbooks: {', '.join(known)}."
    )


def served_runbooks(site: Site) -> dict[str, tuple[str, str]]:
    """Return source and text of each runbook that a client of a server may start, by name.

    These are the runbooks of the site's folder and the starters, or those of them that the
    settings list. A file is never read through a link that leaves the folder.
    """
    folder = site.runbooks.resolve()
    served: dict[str, tuple[str, str]] = {}
    for source, text in known_runbooks(site):
        name = runbook_name(source)
        is_within = source.startswith(STARTER_PREFIX) or (site.runbooks / f"{name}.md").resolve().parent == folder
        if is_within and (site.served_runbooks is None or name in site.served_runbooks):
            served[name] = (source, text)
    return served


def served_runbook(site: Site, named: str | None, incident: str) -> tuple[str, str]:
    """Return source and text of a runbook that a client of the server may start (see
    `served_runbooks`). A file is never read by a path of the client.

    Args:
        named: The name that the client gave; None chooses by the words of the incident.

    Raises:
        LoomOpsError: There is no such runbook, or it is not served.
    """
    served = served_runbooks(site)
    if named is None:
        return choose_runbook(site, incident, among=served.values())
    if named not in served:
        raise LoomOpsError(
            f"cannot find the runbook {named!r}: this server does not offer it. It offers: {', '.join(served)}."
        )
    return served[named]


def choose_runbook(site: Site, incident: str, *, among: Iterable[tuple[str, str]] | None = None) -> tuple[str, str]:
    """Return source and text of the best matching runbook for an incident.

    Args:
        among: Source and text of the runbooks to choose from; None for all that are known.

    Raises:
        LoomOpsError: None matches.
        RunbookError: A runbook of the site has errors; it could be the matching one.
    """
    words = set(re.findall(r"[a-z0-9]+", incident.lower()))
    best: tuple[int, str, str] | None = None
    names = []
    for source, text in known_runbooks(site) if among is None else among:
        runbook = require_runbook(text, source)
        names.append(runbook.name)
        score = _score(runbook, words)
        if score and (best is None or score > best[0]):
            best = (score, source, text)
    if best is None:
        raise LoomOpsError(
            f"cannot choose a runbook for {incident[:80]!r}: none matches any of its words. "
            f"Name one with --runbook: {', '.join(names)}."
        )
    return best[1], best[2]


def _score(runbook: Runbook, words: set[str]) -> int:
    title = set(re.findall(r"[a-z0-9]+", runbook.title.lower()))
    return 2 * len(words & set(runbook.match)) + len(words & title)
