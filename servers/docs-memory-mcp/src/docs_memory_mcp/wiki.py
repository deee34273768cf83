"""The memory as Markdown pages: read one, or write them all to a folder of the root."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from loom_agents.workspace import Workspace

from docs_memory_mcp._errors import CallError
from docs_memory_mcp.memories import Memories, MemoryFact

__all__ = ["WikiExport", "WikiPage", "export_wiki", "read_wiki"]

MARK: Final = "<!-- Written by docs-memory-mcp from its memory. Changes here are lost with the next wiki_export. -->"
_PROFILE: Final = "profile."
_MAX_MARK_BYTES: Final = 4_096


@dataclass(frozen=True)
class WikiPage:
    """One page of the wiki.

    Args:
        page: Its name.
        text: Markdown. What people and models have stored is quoted.
        pages: The names of all pages.
    """

    page: str
    text: str
    pages: list[str]


@dataclass(frozen=True)
class WikiExport:
    """The pages that were written.

    Args:
        folder: The folder, relative to the root.
        written: The files that are new or have changed.
        unchanged: How many are as before.
        removed: The files of an earlier export whose pages are gone.
    """

    folder: str
    written: list[str]
    unchanged: int
    removed: list[str]

    def as_text(self) -> str:
        """Return what was written and removed."""
        lines = [f"{self.folder}: {len(self.written)} written, {self.unchanged} unchanged, {len(self.removed)} removed"]
        return "\n".join([*lines, *self.written, *(f"removed {each}" for each in self.removed)])


def read_wiki(memories: Memories, page: str = "index") -> WikiPage:
    """Return a page, made of what is valid now.

    Raises:
        CallError: There is no such page.
    """
    pages = _pages(memories.valid())
    text = pages.get(page.removesuffix(".md"))
    if text is None:
        raise CallError(f"cannot read the page {page!r}: there is none. Pages: {', '.join(pages)}.")
    return WikiPage(page.removesuffix(".md"), text, list(pages))


def export_wiki(memories: Memories, root: Path, folder: str = "wiki") -> WikiExport:
    """Write every page to a folder of the root. Each file is written whole or not at all.

    Raises:
        WorkspaceError: The folder is outside of the root, or leads there.
        CallError: A file of that name was not written by an earlier export, or the folder cannot be
            written. Files that were written before it stay.
    """
    workspace = Workspace.at(root)
    parts = PurePosixPath(workspace.shown(workspace.resolve(folder))).parts
    pages = {f"{name}.md": f"{MARK}\n\n{text}" for name, text in _pages(memories.valid()).items()}
    written: list[str] = []
    removed: list[str] = []
    try:
        with workspace.folder(parts, make=True) as handle:
            earlier = {name: _exported(name, handle) for name in os.listdir(handle) if name.endswith(".md")}  # noqa: PTH208 - a descriptor
            foreign = sorted(name for name in pages if earlier.get(name, "") is None)
            if foreign:
                raise CallError(
                    f"cannot write {'/'.join((*parts, foreign[0]))}: wiki_export has not made it. Name another folder."
                )
            for name, text in pages.items():
                if earlier.get(name) != text:
                    _write(name, text, handle)
                    written.append(name)
            for name, content in earlier.items():
                if content is not None and name not in pages:
                    os.unlink(name, dir_fd=handle)
                    removed.append(name)
    except OSError as exc:
        raise CallError(f"cannot write the wiki to {folder!r}: {exc.strerror or exc}. Name another folder.") from exc
    return WikiExport("/".join(parts) or ".", written, len(pages) - len(written), sorted(removed))


def _exported(name: str, folder: int) -> str | None:
    """Return the text of a file that an earlier export has written; None for another one."""
    try:
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return None
    with os.fdopen(handle, "rb") as file:
        start = file.read(_MAX_MARK_BYTES)
        if not start.startswith(MARK.encode()):
            return None
        return (start + file.read()).decode("utf-8", "replace")


def _write(name: str, text: str, folder: int) -> None:
    part = f".{name}.{os.getpid()}.part"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(part, flags, 0o644, dir_fd=folder), "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(part, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with suppress(OSError):
            os.unlink(part, dir_fd=folder)
        raise


def _pages(facts: list[MemoryFact]) -> dict[str, str]:
    """Return the pages by name: one for each kind of facts and each profile, and the index."""
    by_kind: dict[str, list[MemoryFact]] = {}
    for fact in facts:
        by_kind.setdefault(fact.kind, []).append(fact)
    pages = {kind.replace(_PROFILE, "profile-", 1): _page(kind, found) for kind, found in sorted(by_kind.items())}
    pages = {f"{name}-facts" if name == "index" else name: text for name, text in pages.items()}
    lines = [f"* [{name}]({name}.md)" for name in pages] or ["The memory is empty."]
    return {"index": "\n".join(["# Memory", "", *lines, ""]), **pages}


def _page(kind: str, facts: list[MemoryFact]) -> str:
    title = f"Profile {kind.removeprefix(_PROFILE)}" if kind.startswith(_PROFILE) else kind.capitalize()
    lines = [f"# {title}", ""]
    for fact in sorted(facts, key=lambda each: each.key):
        until = f", valid until {fact.expires_at[:10]}" if fact.expires_at else ""
        lines += [f"## {_escaped(fact.key)}", "", *(f"> {line}" for line in fact.text.split("\n")), ""]
        lines += [f"Fact {fact.number}, stored {fact.stored_at[:10]} by {_escaped(fact.source)}{until}.", ""]
    return "\n".join(lines)


def _escaped(text: str) -> str:
    """Return a text of others that has no meaning in Markdown."""
    return "".join(f"\\{char}" if char in "\\`*_{}[]<>()#+!|" else char for char in text)
