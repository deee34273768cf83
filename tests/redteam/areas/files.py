"""Files that others can write: each kind of file that decides, each way in which others can
write.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.redteam.area import Area

AREA = Area(
    "files",
    hole="from pathlib import Path\nreplace('loom_runner.own_files', 'check_own_path', lambda path: Path(path))",
)

NOBODY: Final = 65_534


def _rules(file: Path) -> object:
    from loom_ops._commands.rules_file import load_rules

    return load_rules(file, environment={"LOOM_OPS_ALLOW_SHELL": "1"})


def _site(file: Path) -> object:
    from loom_ops._site import load_site

    return load_site(file.parent, file)


def _tokens(file: Path) -> object:
    from loom_agents._serve.tokens import Tokens

    return Tokens.of_file(file)


def _user_settings(file: Path) -> object:
    from loom_run._config.settings import _read

    return _read(file)[0]


def _trusted_files(file: Path) -> object:
    from loom_agents.mcp import TrustedFiles

    return TrustedFiles(file).trusts(Path("/x"), "0" * 64)


def _mcp(file: Path) -> object:
    from loom_agents.mcp import read_mcp_config

    return read_mcp_config(file).servers


def _keys(file: Path) -> object:
    from loom_runner._store.encryption_keys import KeyRing

    return KeyRing.from_file(file)


KINDS: Final[dict[str, tuple[str, Callable[[Path], object]]]] = {
    "rules": ("allow: [{argv: [ls]}]\n", _rules),
    "settings of a site": ("[groups]\noncall = ['mallory']\n", _site),
    "tokens": (f"[mallory]\nsha256 = '{'0' * 64}'\nscopes = ['read']\n", _tokens),
    "settings of a user": ("mode = 'edits'\n", _user_settings),
    "trusted files": (f'{{"format": "loom-trust/1", "files": {{"/x": {{"sha256": "{"0" * 64}"}}}}}}', _trusted_files),
    "MCP servers": ('{"mcpServers": {"x": {"command": "id"}}}', _mcp),
    "encryption keys": ("A" * 43 + "=\n", _keys),
}


def _writable_by_all(file: Path) -> Path:
    file.chmod(0o666)
    return file


def _writable_by_group(file: Path) -> Path:
    file.chmod(0o664)
    return file


def _loose_folder(file: Path) -> Path:
    file.parent.chmod(0o777)
    return file


def _folder_of_group(file: Path) -> Path:
    file.parent.parent.chmod(0o775)
    return file


def _loose_hop(file: Path) -> Path:
    hops = file.parent.parent / "hops"
    hops.mkdir()
    (hops / "hop").symlink_to(file)
    (file.parent / "link").symlink_to(hops / "hop")
    hops.chmod(0o777)
    return file.parent / "link"


def _of_nobody(file: Path) -> Path:
    os.chown(file, NOBODY, NOBODY)
    return file


def _folder_of_nobody(file: Path) -> Path:
    os.chown(file.parent, NOBODY, NOBODY)
    return file


def _sticky_of_nobody(file: Path) -> Path:
    file.parent.chmod(0o1777)
    return _of_nobody(file)


def _link_of_nobody(file: Path) -> Path:
    link = file.parent / "link"
    file.parent.chmod(0o1777)
    link.symlink_to(file)
    os.lchown(link, NOBODY, NOBODY)
    return link


WAYS: Final[dict[str, Callable[[Path], Path]]] = {
    "all can write it": _writable_by_all,
    "the group can write it": _writable_by_group,
    "all can write its folder": _loose_folder,
    "the group can write a folder above": _folder_of_group,
    "all can write the folder of a link on the way": _loose_hop,
}
if os.geteuid() == 0:  # only root can give a file away
    WAYS.update(
        {
            "another user owns it": _of_nobody,
            "another user owns its folder": _folder_of_nobody,
            "another user owns it in a sticky folder": _sticky_of_nobody,
            "another user owns the link": _link_of_nobody,
        }
    )


@AREA.attempt_each("others' file", [(f"{kind}, {way}", kind, way) for kind in KINDS for way in WAYS])
def _(folder: Path, case: tuple[str, str, str]) -> str | None:
    text, use = KINDS[case[1]]
    file = folder / "site/etc/file"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert use(file) is not False, "the file is of no use even when it is the user's"
    path = WAYS[case[2]](file)
    with contextlib.suppress(Exception):
        return f"used: {use(path)}"[:100]
    return None


@AREA.attempt_each("no plain file", [(kind, kind) for kind in KINDS])
def _(folder: Path, case: tuple[str, str]) -> str | None:
    os.mkfifo(folder / "pipe")

    async def read() -> object:
        return await asyncio.wait_for(asyncio.to_thread(KINDS[case[1]][1], folder / "pipe"), 5)

    try:
        return f"used: {asyncio.run(read())}"
    except TimeoutError:
        return "it waits for the pipe"
    except Exception:  # noqa: BLE001  each reader has its own error
        return None


BOMBS: Final = {
    "references": "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b]\n"
    "d: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d]\nallow: [*e,*e,*e,*e,*e,*e]\n",
    "a reference to itself": "allow: &a [*a]\n",
    "depth": "allow: " + "[" * 3_000 + "]" * 3_000,
    "depth by lines": "allow:\n" + "".join(" " * depth + "a:\n" for depth in range(1, 700)),
    "depth by dashes": "allow: \n" + "- " * 3_000,
    "a tag": "allow: !!python/object/apply:os.system ['true']",
}


@AREA.attempt_each("a bomb of YAML as rules", BOMBS.items())
def _(folder: Path, case: tuple[str, str]) -> str | None:
    from loom_ops._errors import RulesError

    (folder / "r.yaml").write_text(case[1])
    try:
        return f"used: {_rules(folder / 'r.yaml')}"[:100]
    except RulesError as exc:
        return "not one line" if "\n" in str(exc) else None
    except RecursionError:
        return "RecursionError"


@AREA.attempt_each("a bomb of TOML", ["a = " + "[" * 3_000 + "]" * 3_000, "a = " + "{a=" * 2_000 + "1" + "}" * 2_000])
def _(folder: Path, text: str) -> str | None:
    (folder / "f.toml").write_text(text)
    for use in (_site, _tokens, _user_settings):
        try:
            return f"used: {use(folder / 'f.toml')}"[:100]
        except RecursionError:
            return "RecursionError"
        except Exception as exc:  # noqa: BLE001  each reader has its own error
            if "\n" in str(exc):
                return "not one line"
    return None
