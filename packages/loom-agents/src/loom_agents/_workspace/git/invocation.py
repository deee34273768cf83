"""How git is started in a repository that somebody hostile may have written.

Theory of operation
-------------------
Many settings of a repository name a program that git then runs: filters, diff programs, hooks, a
file watcher, transports. `Repository.open` reads the *names* of all settings, which runs nothing,
and every later call of git overrides those that name programs. The overrides are environment
variables (`GIT_CONFIG_KEY_n`) and not `-c`, because the name of a filter may contain `=`. No call
may use a transport, run a hook, look into a submodule or start a pager, and none writes the index.

Which repository it is, is decided here and not by settings, because a repository could otherwise
show files from outside the workspace:

* the first `.git` above the workspace is the only one that git may find, and its folder is the
  working tree, whatever `core.worktree` says;
* a `.git` that leads elsewhere must be named by what is there, as in a linked working tree or a
  submodule; `commondir` may only name the repository that the linked working tree is stored in;
* no link in a repository, to where git reads or writes, leads out of it: not for a branch, a log, a
  list of attributes;
* a folder that is itself laid out as a bare repository is refused.

Only what git writes to standard output is shown. Its warnings quote files that it could not read,
and a repository can name any file of the user as its list of attributes.

The settings of the user are read, for the name in commits and `safe.directory`. Git itself refuses
a repository that another user owns.

Not covered: `objects/info/alternates` may name the objects of another repository of the user. They
can only be shown by their hashes.
"""

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loom_runner.errors import NotOwnFile
from loom_runner.own_files import read_plain_file

from loom_agents._errors import ToolError
from loom_agents._process.run import Ended, run_process

TIMEOUT_S: Final = 30.0
MAX_OUTPUT_BYTES: Final = 40_000
_MAX_NAMES_BYTES: Final = 1_000_000
_MAX_OVERRIDES: Final = 2_000

_ENVIRONMENT: Final = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_PAGER": "cat",
    "GIT_ALLOW_PROTOCOL": "",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ASKPASS": "",
    "SSH_ASKPASS": "",
    "LC_ALL": "C",
}
_SETTINGS: Final = {
    "safe.bareRepository": "explicit",
    "protocol.allow": "never",
    "protocol.ext.allow": "never",
    "core.fsmonitor": "",
    "core.hooksPath": os.devnull,
    "core.quotePath": "false",
    "core.sshCommand": "",
    "core.askPass": "",
    "core.alternateRefsCommand": "",
    "credential.helper": "",
    "diff.external": "",
    "diff.autoRefreshIndex": "false",  # `git diff` writes the index without asking for an optional lock
    "log.showSignature": "false",
    "commit.gpgSign": "false",
    "submodule.recurse": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
}
# What git runs, by the names of settings; git itself writes sections and keys in lower case.
_PROGRAMS: Final = re.compile(
    r"filter\..*\.(?:clean|smudge|process)|diff\..*\.(?:command|textconv)|merge\..*\.driver"
    r"|(?:core|sequence)\.editor|core\.(?:pager|gitproxy)|pager\..*|interactive\.difffilter|alias\..*"
    r"|gpg\.(?:.*\.)?(?:program|defaultkeycommand)|credential\..*helper|trailer\..*\.(?:command|cmd)|hook\..*\.command"
    r"|(?:difftool|mergetool|browser|man)\..*\.(?:cmd|path)|submodule\..*\.update"
    r"|remote\..*\.(?:vcs|uploadpack|receivepack)|uploadpack\.packobjectshook",
    re.DOTALL,
)
_READ: Final = ("refs", "logs", "info", "objects", "reftable")
_UNUSED: Final = ("hooks", "lfs", "annex", "modules", "rr-cache", "description")
_MAX_FILES: Final = 100_000
_FILTER: Final = re.compile(r"filter\.(.*)\.(?:clean|smudge|process)", re.DOTALL)
# The files that a repository names and git reads, those of which it quotes or waits for.
_FILES: Final = ("core.attributesfile", "core.excludesfile", "diff.orderfile", "mailmap.file")
_REQUIRED: Final = re.compile(r"filter\..*\.required", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Repository:
    """The repository that contains a folder; use `Repository.open`.

    Args:
        folder: The folder in which git runs.
        top: The folder of the working tree.
        environment: The variables for git.
        program: The path of git.
        filters: The names of the filters that are configured.
    """

    folder: Path
    top: Path
    environment: Mapping[str, str]
    program: str
    filters: frozenset[str] = frozenset()

    @classmethod
    async def open(cls, folder: Path, purpose: str) -> "Repository":
        """Find the repository of a folder, and prepare the calls of git in it.

        Args:
            folder: The folder, without links.
            purpose: What is to be done, for errors: "show the diff".

        Raises:
            ToolError: There is none, or it is not safe to use.
        """
        top, problem = _find(folder)
        if problem:
            raise ToolError(f"cannot {purpose}: {problem}")
        path = _search_path(folder, top)
        program = shutil.which("git", path=path)
        if program is None:
            raise ToolError(f"cannot {purpose}: git is not installed. Tell the user.")
        basis = {
            **_ENVIRONMENT,
            "PATH": path,
            "GIT_WORK_TREE": str(top),
            "GIT_CEILING_DIRECTORIES": str(top.parent),
        }
        repository = cls(folder, top, {**basis, **_as_variables(_SETTINGS)}, program)
        listing = ("config", "--list", "-z", "--name-only", "--show-scope")
        ended = await repository.run(*listing, max_output_bytes=_MAX_NAMES_BYTES)
        if ended.exit_code != 0 or ended.is_truncated:
            raise ToolError(f"cannot {purpose}: {failure('the settings of git cannot be read', ended)}")
        words = ended.output.decode("utf-8", "surrogateescape").split("\0")
        names, own = set(words[1::2]), set(zip(words[::2], words[1::2], strict=False))
        files = {name: os.devnull for name in _FILES if {("local", name), ("worktree", name)} & own}
        programs = {name: "" for name in names if _PROGRAMS.fullmatch(name)}
        programs |= {name: "false" for name in names if _REQUIRED.fullmatch(name)}
        if len(programs) > _MAX_OVERRIDES:
            raise ToolError(f"cannot {purpose}: the repository configures {len(programs)} programs.")
        filters = frozenset(found[1] for name in names if (found := _FILTER.fullmatch(name)))
        return cls(folder, top, {**basis, **_as_variables(programs | files | _SETTINGS)}, program, filters)

    async def run(
        self,
        verb: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        max_output_bytes: int = MAX_OUTPUT_BYTES,
    ) -> Ended:
        """Run git so that it starts no other program and asks no questions."""
        return await run_process(
            (self.program, "--no-pager", verb, *arguments),
            folder=self.folder,
            timeout_s=TIMEOUT_S,
            max_output_bytes=max_output_bytes,
            environment={**self.environment, **(environment or {})},
            stdin=stdin,
            errors_apart=True,
        )


def failure(what: str, ended: Ended) -> str:
    """Say why git failed."""
    output = ended.errors.decode("utf-8", "replace")
    if "dubious ownership" in output:
        return "the repository belongs to another user, and git refuses it. Tell the user (git: safe.directory)."
    if "not a git repository" in output:
        return "the workspace is not in a git repository."
    return f"{what}: {' '.join(output.split())[:300]}"


def _as_variables(settings: Mapping[str, str]) -> dict[str, str]:
    variables = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (name, value) in enumerate(settings.items()):
        variables |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return variables


def _search_path(folder: Path, top: Path) -> str:
    """Return the folders in which git is looked for: none of the repository, none that is
    relative.
    """
    inside = (str(folder), str(top))
    return os.pathsep.join(
        place
        for place in os.environ.get("PATH", os.defpath).split(os.pathsep)
        if Path(place).is_absolute() and not any(Path(os.path.realpath(place)).is_relative_to(root) for root in inside)
    )


def _find(folder: Path) -> tuple[Path, str]:
    """Return the folder that has the `.git`, and what is wrong with it."""
    for top in (folder, *folder.parents):
        link = top / ".git"
        if os.path.lexists(link):
            return top, _problem_of(top, link)
        if (top / "HEAD").is_file() and (top / "objects").is_dir() and (top / "refs").is_dir():
            return top, f"{top} is laid out as a bare repository, which may be a part of the files of another one."
    return folder, "the workspace is not in a git repository."


def _problem_of(top: Path, link: Path) -> str:
    try:
        place = link
        if link.is_file():
            text = _text_of(link)
            if not text.startswith("gitdir:"):
                return "the workspace is not in a git repository."
            place = top / text.removeprefix("gitdir:").strip()
        directory = Path(os.path.realpath(place))
        linked_by = (directory / "gitdir").is_file() and Path(
            os.path.realpath(directory / _text_of(directory / "gitdir").strip())
        ) == Path(os.path.realpath(top)) / ".git"
        common = directory
        if (directory / "commondir").exists():
            common = Path(os.path.realpath(directory / _text_of(directory / "commondir").strip()))
            if not linked_by or directory.parent != common / "worktrees":
                return f"its commondir names {common}, which is another repository."
        elif directory != top / ".git" and not linked_by and not _names_working_tree(directory, top):
            return f"its .git leads to {directory}, which is the repository of another folder."
        for home in {directory, common}:
            if problem := _link_out_of(home, common):
                return problem
    except (OSError, ValueError, NotOwnFile) as exc:
        return f"its .git cannot be read: {exc}."
    return ""


def _names_working_tree(directory: Path, top: Path) -> bool:
    """Report whether a repository says that a folder is its working tree, as those of submodules
    do.
    """
    found = re.search(r"^\s*worktree\s*=\s*\"?([^\"\n]+?)\"?\s*$", _text_of(directory / "config"), re.MULTILINE)
    return found is not None and Path(os.path.realpath(directory / found[1])) == top


def _link_out_of(home: Path, common: Path) -> str:
    """Say which link in a repository leads out of it, among those that git follows here."""
    seen = 0
    for folder, folders, names in os.walk(home):
        for name in (*folders, *names):
            path = Path(folder, name)
            if name not in _UNUSED and path.is_symlink() and not _is_below(path, common):
                return f"{path} is a link to another repository or folder."
        if folder == str(home):
            folders[:] = [name for name in folders if name in _READ]
        elif folder == str(home / "objects"):
            folders[:] = [name for name in folders if name in ("info", "pack")]
        seen += len(names)
        if seen > _MAX_FILES:
            return f"{home} has more than {_MAX_FILES} files beside its objects. Tell the user (git pack-refs --all)."
    return ""


def _is_below(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(folder)


def _text_of(file: Path) -> str:
    return read_plain_file(file, max_bytes=10_000_000).decode("utf-8", "surrogateescape")
