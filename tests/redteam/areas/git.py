"""What a repository brings and git could run or show: filters, hooks, transports, links,
submodules.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from loom_agents import ChangeLog, Workspace, workspace_tools
from loom_agents._workspace.undo.change_rows import FileChange, Plan
from loom_agents._workspace.undo.file_images import Image, take
from loom_runner import ToolFailed

from tests.redteam.area import Area

HOLE = """
import re
replace('loom_agents._workspace.git.invocation', '_PROGRAMS', re.compile('nothing'))
replace('loom_agents._workspace.git.invocation', '_SETTINGS', {'core.quotePath': 'false'})
replace('loom_agents._workspace.git.invocation', '_problem_of', lambda top, link: '')
replace('loom_agents._workspace.git.repository', '_NO_PROGRAMS', ('--no-color',))
"""
AREA = Area("git", hole=HOLE)

SETTINGS = {
    "filter.clean": "filter.evil.clean",
    "filter.process": "filter.evil.process",
    "filter.smudge": "filter.evil.smudge",
    "a filter with = in its name": "filter.e=v.clean",
    "fsmonitor": "core.fsmonitor",
    "diff.external": "diff.external",
    "diff.command": "diff.evil.command",
    "textconv": "diff.evil.textconv",
    "pager": "core.pager",
    "pager.diff": "pager.diff",
    "pager.status": "pager.status",
    "merge driver": "merge.evil.driver",
    "editor": "core.editor",
    "sshCommand": "core.sshCommand",
    "askPass": "core.askPass",
    "gpg": "gpg.program",
    "gpg ssh": "gpg.ssh.defaultKeyCommand",
    "alias": "alias.status",
    "interactive": "interactive.diffFilter",
    "credential": "credential.helper",
    "alternateRefs": "core.alternateRefsCommand",
    "hook.command": "hook.x.command",
    "trailer": "trailer.x.cmd",
    "submodule update": "submodule.x.update",
    "packObjectsHook": "uploadpack.packObjectsHook",
}
LOOKED_AT = 8  # the first ones are tried alone
HOOKS = ("pre-commit", "post-commit", "post-index-change", "reference-transaction", "commit-msg", "post-rewrite")


def _git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "protocol.file.allow=always")
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    done = subprocess.run(
        ["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True, env=environment
    )
    return done.stdout.strip()


def _repository(folder: Path, attributes: str = "*.txt filter=evil diff=evil merge=evil\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    _git(folder, "init", "-q")
    (folder / "a.txt").write_text("one\n")
    (folder / ".gitattributes").write_text(attributes)
    _git(folder, "add", ".")
    _git(folder, "commit", "-qm", "x")
    (folder / "a.txt").write_text("two\n")
    return folder


def _touch(folder: Path, name: str = "PWNED") -> str:
    return f"sh -c 'touch {folder}/{name}; cat'"


def _look(workspace: Path, *, commit: bool = False) -> str:
    """Use every git tool; return what the tools showed."""
    log, place = ChangeLog(workspace.parent / f"{workspace.name}-undo"), Workspace.at(workspace)
    tools = workspace_tools(place, changes=log)
    shown = []
    calls: list[tuple[str, dict[str, Any]]] = [("git_status", {}), ("git_diff", {}), ("git_diff", {"staged": True})]
    calls += [("git_commit", {"message": name}) for name in ("c.md", "c.txt") if commit]
    for name, arguments in calls:
        path = arguments.get("message")
        if path is not None:
            plan = Plan([FileChange(path, take(place, path), Image(b"x"))], {})
            log.apply(place, key=path, run_id="run", tool="write_file", plan=lambda plan=plan: plan)
        try:
            shown.append(str(asyncio.run(tools.get(name).function(**arguments))))
        except ToolFailed as exc:
            shown.append(str(exc))
    return "\n".join(shown)


def _ran(folder: Path) -> str | None:
    found = sorted(path.name for path in folder.rglob("PWN*"))
    return f"ran: {found}" if found else None


@AREA.attempt("every setting that names a program, alone, while looking and on commit")
def _(folder: Path) -> str | None:
    found = []
    template = _repository(folder / "template", "*.txt filter=evil diff=evil merge=evil\n*.eq filter=e=v\n")
    for title, name in list(SETTINGS.items())[:LOOKED_AT]:
        repository = folder / "repositories" / title.replace(" ", "-")
        shutil.copytree(template, repository)
        value = ("!" if name.startswith(("alias", "credential", "submodule")) else "") + _touch(repository)
        _git(repository, "config", name, value)
        if "e=v" in name:
            (repository / "a.txt").rename(repository / "b.eq")
            _git(repository, "add", "-N", "b.eq")
            (repository / "PWNED").unlink(missing_ok=True)
        _look(repository, commit=title == "filter.clean")
        if _ran(repository):
            found.append(title)
    return f"ran: {found}" if found else None


@AREA.attempt("the other settings that name a program, together, while looking and on commit")
def _(folder: Path) -> str | None:
    repository = _repository(folder / "r")
    for name in list(SETTINGS.values())[LOOKED_AT:]:
        value = ("!" if name.startswith(("alias", "credential", "submodule")) else "") + _touch(repository)
        _git(repository, "config", name, value)
    for name in ("log.showSignature", "commit.gpgSign", "tag.gpgSign"):
        _git(repository, "config", name, "true")
    _look(repository, commit=True)
    return _ran(repository)


@AREA.attempt("hooks in .git/hooks, in core.hooksPath, and in a template")
def _(folder: Path) -> str | None:
    repository = _repository(folder / "r")
    _git(repository, "config", "core.hooksPath", "hk")
    _git(repository, "config", "init.templateDir", "hk")
    for place in (repository / ".git/hooks", repository / "hk"):
        place.mkdir(exist_ok=True)
        for hook in (*HOOKS, "fsmonitor-watchman"):
            (place / hook).write_text(f"#!/bin/sh\ntouch {repository}/PWN-{hook}\n")
            (place / hook).chmod(0o755)
    _look(repository, commit=True)
    return _ran(repository)


@AREA.attempt("a setting that is included, on a condition, from a file of the repository")
def _(folder: Path) -> str | None:
    repository = _repository(folder / "r")
    (repository / "more.cfg").write_text(f'[filter "evil"]\n\tclean = "{_touch(repository)}"\n\trequired\n')
    _git(repository, "config", f"includeIf.gitdir:{repository}/.path", "../more.cfg")
    _git(repository, "config", "includeIf.onbranch:**.path", "../more.cfg")
    _look(repository, commit=True)
    return _ran(repository)


@AREA.attempt("a filter that only .git/info/attributes or core.attributesFile selects")
def _(folder: Path) -> str | None:
    repository = _repository(folder / "r", "")
    (repository / ".git/info").mkdir(exist_ok=True)
    (repository / ".git/info/attributes").write_text("*.txt filter=hidden\n")
    (repository / "attr").write_text("*.txt diff=hidden\n")
    _git(repository, "config", "core.attributesFile", "attr")
    for name in ("filter.hidden.clean", "diff.hidden.textconv", "diff.hidden.command"):
        _git(repository, "config", name, _touch(repository))
    _look(repository, commit=True)
    return _ran(repository)


@AREA.attempt("a missing object of a partial clone, fetched through ext::")
def _(folder: Path) -> str | None:
    repository = _repository(folder / "r")
    blob = _git(repository, "rev-parse", "HEAD:a.txt")
    for name, value in {
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "origin",
        "remote.origin.url": f"ext::sh -c touch% {repository}/PWN-ext",
        "remote.origin.promisor": "true",
        "remote.origin.uploadpack": _touch(repository, "PWN-pack"),
        "protocol.ext.allow": "always",
    }.items():
        _git(repository, "config", name, value)
    (repository / ".git/objects" / blob[:2] / blob[2:]).unlink()
    _look(repository)
    return _ran(repository)


@AREA.attempt("the workspace is an embedded bare repository")
def _(folder: Path) -> str | None:
    outer = folder / "outer"
    outer.mkdir()
    _git(outer, "init", "-q")
    shutil.copytree(_repository(folder / "source") / ".git", outer / "sub")
    inside = outer / "sub"
    (inside / "a.txt").write_text("two\n")
    (inside / ".gitattributes").write_text("*.txt filter=evil\n")
    for name, value in {
        "core.bare": "false",
        "core.worktree": str(inside),
        "filter.evil.clean": _touch(inside),
        "core.fsmonitor": _touch(inside, "PWN-monitor"),
    }.items():
        _git(outer, "config", "-f", str(inside / "config"), name, value)
    _look(inside)
    (inside / "deeper").mkdir()
    _look(inside / "deeper")
    return _ran(inside)


@AREA.attempt("a submodule with settings of its own")
def _(folder: Path) -> str | None:
    outer = _repository(folder / "outer", "")
    inner = _repository(outer / "sub")
    _git(outer, "-c", "advice.addEmbeddedRepo=false", "add", "sub")
    (inner / "a.txt").write_text("three\n")
    for name in ("filter.evil.clean", "core.fsmonitor", "diff.external"):
        _git(inner, "config", name, _touch(outer, "PWN-sub"))
    for name, value in {
        "diff.submodule": "diff",
        "status.submoduleSummary": "true",
        "diff.ignoreSubmodules": "none",
    }.items():
        _git(outer, "config", name, value)
    _look(outer)
    return _ran(outer)


def _private(folder: Path) -> Path:
    """Write a repository of the user whose content the workspace must not show."""
    private = folder / "private"
    private.mkdir()
    _git(private, "init", "-q")
    (private / "diary.txt").write_text("CANARY\n")
    _git(private, "add", ".")
    _git(private, "commit", "-qm", "x")
    return private


def _seen(shown: str) -> str | None:
    return f"shown: {shown[:200]}" if "CANARY" in shown or "diary" in shown else None


@AREA.attempt_each(
    "another repository of the user is shown", ["gitdir file", "link", "commondir", "refs", "branch", "branches"]
)
def _(folder: Path, how: str) -> str | None:
    private, workspace = _private(folder), folder / "w"
    workspace.mkdir()
    if how == "gitdir file":
        (workspace / ".git").write_text(f"gitdir: {private}/.git\n")
    elif how == "link":
        (workspace / ".git").symlink_to(private / ".git")
    else:
        _git(workspace, "init", "-q")
        if how == "commondir":
            (workspace / ".git/commondir").write_text(f"{private}/.git\n")
        elif how.startswith("branch"):
            (workspace / ".git/objects/info/alternates").write_text(f"{private}/.git/objects\n")
            branch = _git(private, "symbolic-ref", "--short", "HEAD")
            theirs = private / ".git/refs/heads" / (branch if how == "branch" else ".")
            (workspace / ".git/refs/heads/x").symlink_to(theirs)
            (workspace / ".git/HEAD").write_text(f"ref: refs/heads/x{'' if how == 'branch' else '/' + branch}\n")
        else:
            for name in ("refs", "objects"):
                shutil.rmtree(workspace / ".git" / name)
                (workspace / ".git" / name).symlink_to(private / ".git" / name)
            (workspace / ".git/HEAD").write_text((private / ".git/HEAD").read_text())
    return _seen(_look(workspace))


@AREA.attempt("core.worktree shows files outside the workspace")
def _(folder: Path) -> str | None:
    home, workspace = folder / "home", _repository(folder / "w", "")
    home.mkdir()
    (home / "diary.txt").write_text("CANARY\n")
    blob = _git(workspace, "rev-parse", "HEAD:a.txt")
    _git(workspace, "update-index", "--add", "--cacheinfo", f"100644,{blob},diary.txt")
    _git(workspace, "config", "core.worktree", str(home))
    shown = _look(workspace)
    return f"shown: {shown[:200]}" if "CANARY" in shown else None


@AREA.attempt_each("git quotes a file of the user", ["setting", "attributes", "alternates", "shallow", "grafts"])
def _(folder: Path, how: str) -> str | None:
    repository, secret = _repository(folder / "r"), folder / "secret"
    secret.write_text("login CANARY/1\n")
    if how == "setting":
        _git(repository, "config", "core.attributesFile", str(secret))
    else:
        places = {"attributes": "info/attributes", "alternates": "objects/info/alternates", "grafts": "info/grafts"}
        link = repository / ".git" / places.get(how, how)
        link.unlink(missing_ok=True)
        link.symlink_to(secret)
    return _seen(_look(repository))


@AREA.attempt("git_commit writes through a link in .git")
def _(folder: Path) -> str | None:
    repository, theirs = _repository(folder / "r"), folder / "theirs"
    theirs.mkdir()
    for name in ("refs/heads/loom", "logs/refs/heads/loom"):
        (repository / ".git" / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / ".git" / name).symlink_to(theirs)
        _look(repository, commit=True)
        (repository / ".git" / name).unlink()
    written = [path.name for path in theirs.iterdir()]
    return f"written: {written}" if written else None


SECRETS = (
    *(".env", "secrets/prod.txt", "sub/secrets/x.txt", "foo.key/inner.txt", ".aws/credentials", ".AWS/credentials"),
    *("a/.ssh/config", "id_rsa.d/x", "credentials/x.txt", "SECRETS/x.txt", ".env.d/x", "Prod.PEM", "ENV/.Env"),
)


@AREA.attempt("git_diff shows what read_file refuses")
def _(folder: Path) -> str | None:
    _git(folder, "init", "-q")
    for name in SECRETS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("v1\n")
    _git(folder, "add", "-f", ".")
    _git(folder, "commit", "-qm", "1")
    for name in SECRETS:
        (folder / name).write_text(f"CANARY-{name}!\n")
    shown = _look(folder)
    _git(folder, "mv", ".env", "plain.txt")
    (folder / "plain.txt").write_text("v1\nCANARY-renamed\n")
    _git(folder, "add", "-A")
    shown += _look(folder)
    return "shown: " + shown[shown.index("CANARY") :][:200] if "CANARY" in shown else None


@AREA.attempt("git of the workspace is found through a relative PATH")
def _(folder: Path) -> str | None:
    repository = _repository(folder / "r", "")
    (repository / "git").write_text(f"#!/bin/sh\ntouch {repository}/PWN-path\n")
    (repository / "git").chmod(0o755)
    before = os.environ["PATH"]
    os.environ["PATH"] = f".::{repository}:{before}"
    try:
        _look(repository)
    finally:
        os.environ["PATH"] = before
    return _ran(repository)


@AREA.attempt("a repository of another user")
def _(folder: Path) -> str | None:
    if os.geteuid() != 0:
        return None  # only root can make one
    repository = _repository(folder / "r")
    _git(repository, "config", "filter.evil.clean", _touch(repository))
    for path in (repository, *repository.rglob("*")):
        os.lchown(path, 65534, 65534)
    shown = _look(repository)
    return _ran(repository) or (None if "another user" in shown else f"shown: {shown[:200]}")
