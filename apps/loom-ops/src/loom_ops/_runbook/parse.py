"""Parse a runbook from Markdown, and report all its problems at once.

Theory of operation. The text is front matter (YAML between two lines `---`, see `front_matter`) and
Markdown (see `body`). markdown-it gives the headings, the fenced blocks and the numbered lists with
their lines; everything else is prose. At the end `references` checks the references of the steps.

Nothing is guessed: an unknown key, word, kind or reference is a problem with a line. Problems are
collected, not raised, so that `lint` shows all of them; `require_runbook` raises when one is an
error.

Not covered here: whether allow rules match (`lint`), and values of inputs (`inputs`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from loom_runner.errors import NotOwnFile
from loom_runner.own_files import read_plain_file

from loom_ops._errors import LoomOpsError, RunbookError
from loom_ops._runbook.body import read_body
from loom_ops._runbook.draft import Draft
from loom_ops._runbook.front_matter import read_front_matter
from loom_ops._runbook.model import STARTER_PREFIX, Runbook
from loom_ops._runbook.references import check_references
from loom_ops._runbook.yaml_mapping import read_mapping

if TYPE_CHECKING:
    from loom_ops._errors import Problem

__all__ = ["parse_runbook", "read_text", "require_runbook"]

MAX_BYTES: Final = 1_000_000


def require_runbook(text: str, source: str) -> Runbook:
    """Parse a runbook for use.

    Raises:
        RunbookError: It has errors.
    """
    runbook, problems = parse_runbook(text, source)
    if runbook is None:
        raise RunbookError(source, [problem for problem in problems if problem.severity == "error"])
    return runbook


def parse_runbook(text: str, source: str) -> tuple[Runbook | None, list[Problem]]:
    """Parse a runbook.

    Returns:
        The runbook, None when an error was found; and every problem, in the order of the lines.
    """
    draft = _read(text)
    problems = sorted(draft.problems)
    if any(problem.severity == "error" for problem in problems):
        return None, problems
    name = Path(source.removeprefix(STARTER_PREFIX)).stem
    return (
        Runbook(
            name=name,
            source=source,
            kind=draft.kind,
            title=draft.title or name,
            summary=draft.summary,
            match=draft.match,
            inputs=draft.inputs,
            secrets=draft.secrets,
            approvals=draft.approvals,
            sections=tuple(draft.sections),
            steps=tuple(draft.steps),
        ),
        problems,
    )


def read_text(path: Path, shown: str) -> str:
    """Read the file of a runbook.

    Args:
        shown: The name of the file in messages.

    Raises:
        LoomOpsError: It does not exist, is not readable, too large or not text.
    """
    try:
        data = None if path.stat().st_size > MAX_BYTES and path.is_file() else read_plain_file(path)
    except NotOwnFile as exc:
        if path.is_dir():
            raise LoomOpsError(f"cannot read {shown}: it is a folder. Name a Markdown file in it.") from exc
        raise LoomOpsError(f"cannot read {shown}: {exc}") from exc
    except IsADirectoryError as exc:
        raise LoomOpsError(f"cannot read {shown}: it is a folder. Name a Markdown file in it.") from exc
    except OSError as exc:
        raise LoomOpsError(f"cannot read {shown}: {(exc.strerror or str(exc)).lower()}. Check the name.") from exc
    if data is None:
        raise LoomOpsError(
            f"cannot read {shown}: it is larger than {MAX_BYTES:,} bytes. A runbook is for people; split it."
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise LoomOpsError(f"cannot read {shown}: byte {exc.start} is not UTF-8. Save it as UTF-8.") from exc


def _read(text: str) -> Draft:
    draft = Draft()
    lines = text.splitlines()
    lines_before = 0
    if lines and lines[0].strip() == "---":
        end = next((index for index, line in enumerate(lines[1:], 1) if line.strip() == "---"), None)
        if end is None:
            draft.error(1, "the front matter has no end", "Add a line --- after it")
            return draft
        keys, problems = read_mapping("\n".join(lines[1:end]), 2)
        draft.problems += problems
        if not problems:
            read_front_matter(draft, keys)
        lines_before = end + 1
    read_body(draft, "\n".join(lines[lines_before:]), lines_before)
    check_references(draft)
    return draft
