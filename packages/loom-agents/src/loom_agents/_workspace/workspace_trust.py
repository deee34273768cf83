"""Whether the user trusts a workspace to run its tests.

`run_tests` executes what a repository brought: its Python environment, `conftest.py`, the options
and plugins that its configuration names. The user trusts that once. The trust is bound to the bytes
of what *steers* the tests (`TEST_STEERING`, the interpreter of the environment, the files that the
test command names) and not to the tests themselves, so that an edited source file does not void it.
"""

import hashlib
import json
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from loom_agents._workspace.jail import Workspace
from loom_agents._workspace.steering_files import TEST_STEERING
from loom_agents._workspace.test_runner import default_test_command
from loom_agents._workspace.trusted_files import TrustedFiles

__all__ = ["TestSteering", "WorkspaceTrust"]

_SKIPPED: Final = frozenset({".git", ".hg", ".svn", "node_modules", "__pycache__"})
_MAX_FILES: Final = 5_000
_MAX_BYTES: Final = 10_000_000
_SHOWN: Final = 6


@dataclass(frozen=True, slots=True)
class TestSteering:
    """What `run_tests` would run in a workspace.

    Args:
        command: The command.
        files: The files that steer it, relative to the workspace, with the hash of each.
        more_commands: The other commands that are trusted together with it.
    """

    __test__ = False  # it is no test case

    command: tuple[str, ...]
    files: tuple[tuple[str, str], ...]
    more_commands: tuple[tuple[str, ...], ...] = ()

    @property
    def digest(self) -> str:
        """A hash of all of it."""
        facts = [self.command, self.files, *([self.more_commands] if self.more_commands else ())]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def shown(self) -> str:
        """Say in one line what would run."""
        names = [name if name.isprintable() else ascii(name) for name, _ in self.files]
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        commands = "; ".join(" ".join(command) for command in (self.command, *self.more_commands))
        return f"{commands}; {', '.join(names[:_SHOWN]) or 'its test files'}{more}"


@dataclass(frozen=True, slots=True)
class WorkspaceTrust:
    """The trust of one user in one workspace.

    Args:
        workspace: The workspace.
        store: The user's file of what is trusted.
        test_command: The command of `run_tests`; None for the default.
        more_commands: Other commands that are trusted together with it.
        more_steering: Names of files that steer them, as patterns in lower case, in addition to
            those that steer tests.
        advice: How the user trusts the workspace, for the objection.
    """

    workspace: Workspace
    store: TrustedFiles
    test_command: tuple[str, ...] | None = None
    more_commands: tuple[tuple[str, ...], ...] = ()
    more_steering: tuple[str, ...] = ()
    advice: str = "`loom-run trust` trusts it"

    def steering(self) -> TestSteering:
        """Read what `run_tests` would run now."""
        command = self.test_command or default_test_command(self.workspace)
        commands = (command, *self.more_commands)
        files = _files(self.workspace.root, commands, (*TEST_STEERING, *self.more_steering))
        return TestSteering(command, tuple(sorted(files.items())), self.more_commands)

    def objection(self) -> str | None:
        """Say why the tests may not run without asking; None when the user trusts the workspace."""
        steering = self.steering()
        if len(steering.files) > _MAX_FILES:
            return f"more than {_MAX_FILES} files steer its tests, too many to compare"
        if self.store.trusts(self.workspace.root, steering.digest):
            return None
        changed = " since it was changed" if self.store.knows(self.workspace.root) else ""
        return (
            f"the workspace is not trusted{changed}, and this would run what it brings: {steering.shown()}"
            f" ({self.advice})"
        )

    def trust(self, steering: TestSteering | None = None) -> None:
        """Store that the user trusts the workspace as it is, or as it was when it was shown."""
        self.store.trust(self.workspace.root, (steering or self.steering()).digest)


def _files(root: Path, commands: Sequence[Sequence[str]], patterns: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for folder, folders, names in os.walk(root):
        inner = [name for name in folders if name not in _SKIPPED]
        is_environment = "pyvenv.cfg" in names
        folders[:] = [] if is_environment else inner
        for name in names:
            if any(fnmatchcase(name.casefold(), pattern) for pattern in patterns):
                found[os.path.relpath(Path(folder, name), root)] = ""
        if len(found) > _MAX_FILES:
            break
    for word in (word for command in commands for word in command):
        if not word.startswith("-") and (root / word).is_file() and not Path(word).is_absolute():
            found[word] = ""
    for program in {root / command[0] for command in commands if "/" in command[0]}:
        if program.is_relative_to(root):
            found |= {
                os.path.relpath(path, root): ""
                for path in program.parent.parent.glob("lib/python*/site-packages/*")
                if path.name.endswith(".pth") or path.name in ("sitecustomize.py", "usercustomize.py")
            }
    return {name.replace(os.sep, "/"): _hash(root / name) for name in found}


def _hash(path: Path) -> str:
    """Return a hash of a file and of where it really is: the program of an environment is a
    link.
    """
    real = Path(os.path.realpath(path))
    try:
        facts = real.stat()
        if facts.st_size > _MAX_BYTES:
            return hashlib.sha256(f"{real} {facts.st_size} {facts.st_mtime_ns}".encode()).hexdigest()
        content = real.read_bytes() if stat.S_ISREG(facts.st_mode) else b"not a file"  # as /dev/zero, or a pipe
    except OSError:
        content = b""
    where = os.fsencode(real) if path.is_symlink() else b""
    return hashlib.sha256(where + b"\0" + content).hexdigest()
