"""What the documents say is there: files they link to, commands they show, targets they name."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    page
    for pattern in (
        "*.md",
        "docs/**/*.md",
        "packages/*/*.md",
        "packages/*/docs/**/*.md",
        "apps/*/*.md",
        "servers/*/*.md",
    )
    for page in ROOT.glob(pattern)
)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?!https?:|mailto:|#)([^)#\s]+)(?:#[^)]*)?\)")
COMMANDS = ("loom-tailcalls", "flow-xray", "loom-runner", "loom-run", "loom-ops")


def without_code(text: str) -> str:
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def code_lines(page: Path) -> list[str]:
    """The lines inside fenced blocks of shell commands."""
    blocks = re.findall(
        r"^```(?:bash|console|sh)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    return [line.strip().removeprefix("$ ") for block in blocks for line in block.splitlines() if line.strip()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    targets = LINK.findall(without_code(page.read_text(encoding="utf-8")))

    assert [target for target in targets if not (page.parent / target).resolve().exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_in_a_page_exists(page: Path) -> None:
    known = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        word
        for line in code_lines(page)
        if line.startswith("make ")
        for word in line.partition("#")[0].split()[1:]
        if re.fullmatch(r"[a-z][a-z-]*", word)
    }

    assert named - known == set()


def sub_commands(command: str) -> set[str]:
    text = subprocess.run(
        [str(Path(sys.executable).parent / command), "--help"], capture_output=True, text=True, check=True
    ).stdout
    return set(re.findall(r"^ {2,6}([a-z][a-z-]+)\b", text, re.MULTILINE)) | set(
        re.findall(r"[{,]([a-z-]+)(?=[,}])", text)
    )


def test_every_sub_command_in_a_page_is_one_that_help_shows() -> None:
    unknown = []
    shown: dict[str, set[str]] = {}
    for page in PAGES:
        for line in code_lines(page):
            words = line.split()
            if len(words) > 1 and words[0] in COMMANDS and not words[1].startswith("-"):
                known = shown.setdefault(words[0], sub_commands(words[0]))
                if words[1] not in known:
                    unknown.append(f"{page.relative_to(ROOT)}: {line}")

    assert unknown == []
