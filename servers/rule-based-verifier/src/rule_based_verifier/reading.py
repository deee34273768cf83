"""Read and search the files of the root."""

from dataclasses import dataclass, replace

from loom_agents.redaction import shown_line, shown_text
from loom_agents.workspace import FileTools

from rule_based_verifier._errors import CallError
from rule_based_verifier.gates.gates import open_root
from rule_based_verifier.settings import Settings

__all__ = ["FileText", "Found", "SearchResult", "read_repo_file", "search_codebase"]

_MAX_RESULTS = 200


@dataclass(frozen=True)
class FileText:
    """Lines of a file.

    Args:
        path: The file, relative to the root.
        text: The lines; secrets are masked, and control characters shown as escapes.
        is_exact: Whether `text` is exactly what the file has there.
        first_line: The number of the first line, from 1.
        lines: How many lines `text` has.
        total_lines: How many the file has.
        size_bytes: The size of the file.
        truncated: Whether lines, or parts of long lines, are left out.
        next_line: Give this as `first_line` to read on; None at the end.
    """

    path: str
    text: str
    is_exact: bool
    first_line: int
    lines: int
    total_lines: int
    size_bytes: int
    truncated: bool
    next_line: int | None

    def as_text(self) -> str:
        """Return the lines, and a last one in brackets when some are left out."""
        if not self.truncated:
            return self.text
        more = f"first_line={self.next_line} reads on" if self.next_line else "long lines were cut"
        last = self.first_line + self.lines - 1
        return f"{self.text}\n[lines {self.first_line} to {last} of {self.total_lines}; {more}]"


@dataclass(frozen=True)
class Found:
    """One line that matches.

    Args:
        path: The file, relative to the root.
        line: The number of the line, from 1.
        text: The line, or its part around the match; secrets are masked.
    """

    path: str
    line: int
    text: str


@dataclass(frozen=True)
class SearchResult:
    """Lines that match a pattern.

    Args:
        matches: The first `max_results` of them, by path and line.
        total: How many there are.
        truncated: Whether some are left out.
        skipped: What was not searched, or an empty text.
    """

    matches: list[Found]
    total: int
    truncated: bool
    skipped: str

    def as_text(self) -> str:
        """Return one line for each match."""
        lines = [f"{each.path}:{each.line}: {each.text}" for each in self.matches]
        lines.append(f"[{len(self.matches)} of {self.total} matches]")
        return "\n".join([*lines, *([f"[{self.skipped}]"] if self.skipped else [])])


def read_repo_file(settings: Settings, relative_path: str, first_line: int = 1) -> FileText:
    """Read lines of a text file, at most as many bytes as the settings allow.

    Raises:
        ToolError: The path leads outside or may hold secrets, or the file is missing or no text.
    """
    tools = FileTools(open_root(settings), max_text_bytes=settings.max_read_bytes)
    page = tools.read_file(relative_path, offset=first_line, limit=2_000)
    text = page["text"]
    shown = shown_text(text)
    return FileText(
        relative_path,
        shown,
        shown == text and not page.get("cut_lines") and not page.get("masked_lines"),
        page["offset"],
        page["lines"],
        page["total"],
        page["size_bytes"],
        page["truncated"],
        page["next_offset"],
    )


async def search_codebase(
    settings: Settings, pattern: str, glob_pattern: str = "**", max_results: int = 50
) -> SearchResult:
    """Search the lines of the root's text files for a regular expression.

    Files that .gitignore names, secrets, and links are left out. The search runs in a process of
    its own, which is stopped after the time limit.

    Raises:
        ToolError: The pattern is invalid or takes too long.
    """
    if max_results > _MAX_RESULTS:
        raise CallError(f"cannot return {max_results} matches: at most {_MAX_RESULTS}. Use a narrower pattern or glob.")
    tools = replace(FileTools(open_root(settings)), grep_timeout_s=settings.search_timeout_s)
    found = await tools.grep(pattern, glob_pattern, limit=max_results)
    matches = [Found(shown_line(each["path"]), each["line"], shown_line(each["text"])) for each in found["matches"]]
    skipped = []
    if "skipped_files" in found:
        skipped.append(f"{found['skipped_files']} files not searched: {found['skipped_because']}")
    if "skipped_lines" in found:
        skipped.append(f"{found['skipped_lines']} very long lines not searched")
    return SearchResult(matches, found["total"], found["truncated"], "; ".join(skipped))
