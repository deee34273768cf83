"""Which further arguments a client may give to a runner: lists of what is allowed, not of what is
forbidden.

Each argument is compared whole, so abbreviations do not pass. A path must be inside the root and
exist; it is passed with `./` before it, so that no runner reads it as an option.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from loom_agents.workspace import Workspace, WorkspaceError

from rule_based_verifier._errors import ArgumentError

__all__ = ["RULES", "ArgumentRules"]

_MAX_ARGUMENTS: Final = 50
_MAX_CHARACTERS: Final = 1_000
_NUMBER: Final = r"\d{1,6}"
_NAMES: Final = r"[\w.,/:*-]{1,200}"
_TEXT: Final = r"[^\0\n]{1,500}"


@dataclass(frozen=True, slots=True)
class ArgumentRules:
    """What one runner accepts.

    Args:
        flags: Options without a value.
        values: Options with a value, and the pattern that the whole value must match.
        paths: Whether a path inside the root is accepted, with `::` and the name of a test.
        words: A pattern of other words that are accepted as they are.
    """

    flags: frozenset[str] = frozenset()
    values: Mapping[str, str] | None = None
    paths: bool = True
    words: str | None = None

    def checked(self, runner: str, arguments: Sequence[str], workspace: Workspace) -> tuple[str, ...]:
        """Return the arguments as they are passed to the runner: options first, then paths.

        Raises:
            ArgumentError: One is not allowed.
        """
        if len(arguments) > _MAX_ARGUMENTS:
            raise ArgumentError(f"cannot pass {len(arguments)} arguments: at most {_MAX_ARGUMENTS} are allowed.")
        out: list[str] = []
        names: list[str] = []
        rest = list(arguments)
        while rest:
            word = rest.pop(0)
            if not word or len(word) > _MAX_CHARACTERS or not word.isprintable():
                raise ArgumentError(
                    f"cannot pass {word[:80]!r} to {runner}: it is empty, too long, or has a control character."
                )
            if not word.startswith("-"):
                names.append(self._path_or_word(runner, word, workspace))
                continue
            name, equals, value = word.partition("=")
            if word in self.flags:
                out.append(word)
                continue
            pattern = (self.values or {}).get(name)
            if pattern is None:
                raise ArgumentError(
                    f"cannot pass {word!r} to {runner}: it is not on the list of allowed options ({self._shown()})."
                    " Options that load code, run other programs or write files are left out on purpose; the owner"
                    " of the workspace can put one into the command with --test-cmd or --lint-cmd."
                )
            if not equals:
                if not rest:
                    raise ArgumentError(f"cannot pass {word!r} to {runner}: it needs a value.")
                value = rest.pop(0)
            if value.startswith("-") or re.fullmatch(pattern, value) is None:
                raise ArgumentError(
                    f"cannot pass {name} {value[:80]!r} to {runner}: the value does not match {pattern}."
                )
            out += [f"{name}={value}"] if equals else [name, value]
        return (*out, *names)

    def _path_or_word(self, runner: str, word: str, workspace: Workspace) -> str:
        if self.words is not None and re.fullmatch(self.words, word) and ".." not in word.split("/"):
            return word
        if not self.paths:
            raise ArgumentError(f"cannot pass {word!r} to {runner}: it does not match {self.words}.")
        file, *names = word.split("::")
        try:
            real = workspace.resolve(file)
        except WorkspaceError as exc:
            raise ArgumentError(f"cannot pass {word!r} to {runner}: {exc}") from exc
        if not real.exists():
            raise ArgumentError(f"cannot pass {word!r} to {runner}: there is no such file. Use search_codebase.")
        return "::".join((f"./{workspace.shown(real)}", *names))

    def _shown(self) -> str:
        options = sorted({*self.flags, *(self.values or {})})
        return ", ".join([*options, *(["paths"] if self.paths else [])]) or "none"


_PYTEST: Final = ArgumentRules(
    frozenset({"-x", "--exitfirst", "-q", "-v", "-vv", "-l", "--showlocals", "-s", "--strict-markers", "--no-header"}),
    {
        "-k": _TEXT,
        "-m": _TEXT,
        "-n": r"\d{1,2}|auto",
        "--maxfail": _NUMBER,
        "--tb": "auto|long|short|line|native|no",
        "--deselect": r"[^\0\n-][^\0\n]{0,500}",
        "--durations": _NUMBER,
    },
)
_RUFF: Final = ArgumentRules(
    frozenset({"--preview", "--no-preview"}),
    {
        "--select": r"[A-Z0-9,]+",
        "--ignore": r"[A-Z0-9,]+",
        "--extend-select": r"[A-Z0-9,]+",
        "--target-version": r"py3\d+",
    },
)
_GO_OPTIONS: Final = {"-run": _TEXT, "-skip": _TEXT, "-count": _NUMBER, "-timeout": r"[\dhms.]+", "-tags": _NAMES}
_GO: Final = ArgumentRules(
    frozenset({"-short", "-race", "-v", "-failfast"}),
    {**_GO_OPTIONS, "-parallel": _NUMBER},
    paths=True,
    words=r"\./[\w./-]*",
)
_CARGO_NAMES: Final = r"[A-Za-z_][\w-]{0,100}"
_CARGO: Final = ArgumentRules(
    frozenset({"--lib", "--bins", "--tests", "--doc", "--workspace", "--all-features", "--no-default-features",
               "--no-fail-fast", "--release"}),
    {"--test": _CARGO_NAMES, "--package": _CARGO_NAMES, "-p": _CARGO_NAMES, "--features": r"[\w,/-]+"},
    paths=False,
    words=r"[A-Za-z_][\w:]{0,200}",
)  # fmt: skip

RULES: Final[Mapping[str, ArgumentRules]] = {
    "pytest": _PYTEST,
    "ruff": _RUFF,
    "go test": _GO,
    "go vet": ArgumentRules(values={"-tags": _NAMES}, words=r"\./[\w./-]*"),
    "cargo test": _CARGO,
    "cargo clippy": ArgumentRules(_CARGO.flags, {"--package": _CARGO_NAMES, "-p": _CARGO_NAMES}, paths=False),
    "npm": ArgumentRules(),
    "command": ArgumentRules(),
}
"""The rules of each runner. Those of an npm script and of a command that the owner chose accept
paths only: what an option would do there is not known."""
