"""A corpus file and what its comments expect of the compiler.

Three folders, one program per file; the docstring is the rule in one sentence.

``accepted/``   equal to plain recursion in every `blocks` mode, and without a reported deviation (but see ``reports``)
``deviating/``  equal under ``blocks="exact"``; under ``"step"`` (and without the option) exactly what `STEP` defines
``either/``     refused, reported or equal: what the contract leaves open, as long as nothing is silently different
``refused/``    a `TailCallError` at decoration: the comment ``# ^ LT011`` under a line gives code and column
             (``#^`` without the space means the column of the ``#``, ``#^2`` column 2)

Comments that a program may hold:

``# python: 3.12``      the program needs that version
``# exact: refused``    ``blocks="exact"`` cannot be used with it (a group)
``# code: LT003``       (refused) only the code is expected: there is no line to point at
``# reports: ID``       (accepted) equal in this program, and still reported: another caller could see a difference
``# deviates``          (deviating) at the end of a line: the report must name exactly these lines
"""

from __future__ import annotations

import ast
import dataclasses
import re
import sys
from pathlib import Path

CORPUS = Path(__file__).resolve().parents[1] / "corpus"
_DIRECTIVE = re.compile(r"^# (python|exact|code|reports): (.+)$", re.MULTILINE)
_DOCSTRING = re.compile(r'\A""".')

_CARET = re.compile(r"^(\s*#\s*)\^(\d*) (LT\d{3})\s*$")
_DEVIATES = re.compile(r"#\s*deviates\b")


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """Where and why a program must be refused. Lines and columns count from 1."""

    code: str
    line: int
    column: int


@dataclasses.dataclass(frozen=True, slots=True)
class Program:
    """One file of the corpus."""

    path: Path
    source: str

    directives: dict[str, str]

    @property
    def name(self) -> str:
        """The file's name without its ending; the test id."""
        return self.path.stem

    @property
    def runs_here(self) -> bool:
        """Whether this Python is new enough for the program."""
        wanted = tuple(int(part) for part in self.directives.get("python", "3.11").split("."))
        return sys.version_info[:2] >= wanted

    @property
    def deviating_lines(self) -> set[int]:
        """The lines that end with ``# deviates``."""
        return {number for number, line in enumerate(self.source.splitlines(), 1) if _DEVIATES.search(line)}

    @property
    def refusals(self) -> list[Refusal]:
        """The refusals in the caret comments; each points at the code line above it."""
        found = []
        lines = self.source.splitlines()
        for number, line in enumerate(lines, 1):
            caret = _CARET.match(line)
            if caret:
                above = number - 1
                while _CARET.match(lines[above - 1]):
                    above -= 1
                column = int(caret[2]) if caret[2] else len(caret[1]) + (caret[1][-1] == " ")
                found.append(Refusal(caret[3], above, column))
        return found

    def has(self, name: str) -> bool:
        """Whether the module assigns or defines a top-level name."""
        return any(
            (isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == name)
            or (isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets))
            for node in ast.parse(self.source).body
        )

    def literal(self, name: str) -> object:
        """The value of a top-level literal of the module, without running it."""
        for node in ast.parse(self.source).body:
            if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
                return ast.literal_eval(node.value)
        raise LookupError(f"cannot read {name}: {self.path.name} does not assign it a literal")


def read(path: Path) -> Program:
    """Read one corpus file. The docstring and every directive must be valid."""
    source = path.read_text(encoding="utf-8")
    if not _DOCSTRING.match(source):  # not parsed: the file may need a newer Python than this one
        raise ValueError(f"cannot use {path.name}: it has no docstring. Write the rule that it tests in one sentence.")
    return Program(path, source, {key: text.strip() for key, text in _DIRECTIVE.findall(source)})


def corpus(folder: str) -> list[Program]:
    """All programs of one folder that run on this Python, by name."""
    return [program for program in map(read, sorted((CORPUS / folder).glob("*.py"))) if program.runs_here]
