"""The settings of a site, in `loom-ops.toml`:

    rules = "ops.rules.yaml"
    runbooks = "runbooks"
    mcp = ".mcp.json"

    [groups]
    oncall = ["alice", "bob"]

    [people.alice]
    os = ["alice"]
    token = ["alice"]
    telegram = [99887766]

    [approvals]
    sign = "required"

    [notify]
    webhook = "https://hooks.example.org/ops"
    secret_env = "LOOM_OPS_WEBHOOK_SECRET"

    [serve]
    runbooks = ["fix-api"]     # those that can be started over HTTP; without it, all of the site

    [services.api]             # what a health check of `api` measures; see loom_ops.api
    runbooks = ["fix-api"]
    inputs = {url = "https://api.example.org/health"}

    [telegram]
    token_env = "TELEGRAM_TOKEN"
    chat = 12345
    people = {"11223344" = "bob"}

An unknown key is an error that names it. Secrets are named by the environment variable that holds
them, never written down. Relative paths start from the folder of the file.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from flow_xray.terminal import visible_line
from loom_runner.errors import NotOwnFile
from loom_runner.own_files import decode_toml, read_own_file

from loom_ops._errors import LoomOpsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["SITE_FILE", "Service", "Site", "load_site"]

SITE_FILE: Final = "loom-ops.toml"
SIGN_MODES: Final = ("off", "optional", "required")
DEFAULT_RULES: Final = "ops.rules.yaml"
DEFAULT_RUNBOOKS: Final = "runbooks"
DEFAULT_MCP: Final = ".mcp.json"

_KNOWN: Final[Mapping[str, Mapping[str, type] | type]] = {
    "rules": str,
    "runbooks": str,
    "mcp": str,
    "groups": {},
    "people": {},
    "approvals": {"sign": str},
    "notify": {"webhook": str, "secret_env": str, "apprise": list},
    "serve": {"runbooks": list},
    "services": {},
    "telegram": {"token_env": str, "chat": int, "people": dict, "base_url": str},
}


_FACES: Final[Mapping[str, type]] = {"os": str, "token": str, "telegram": int}


@dataclass(frozen=True, slots=True)
class Service:
    """What tells whether a service is healthy: the checks of runbooks.

    Args:
        runbooks: Their names; None for those with an input `service` that takes its name.
        inputs: The values of their inputs; `service` need not be given.
    """

    runbooks: tuple[str, ...] | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Site:
    """A site's settings.

    Args:
        folder: The workspace; relative paths start from it.
        rules: The file of allow rules.
        runbooks: The folder of the site's own runbooks.
        groups: The names of the people of each group.
        people: For each person that is described, the identities that are this person:
            `os:alice`, `os:alice@host`, `token:alice`, `telegram:123`.
        served_runbooks: The names of the runbooks that can be started over HTTP; None for all
            that the site knows by name.
        services: The services that the settings describe, by name.
        sign: Whether decisions are signed: `off`, `optional` or `required`.
        telegram_people: The name of the person of each Telegram user id.
        is_written: Whether there is a settings file.
        mcp: The file that names the MCP servers for checks of kind `mcp`, as the settings have it.
    """

    folder: Path
    rules: Path
    runbooks: Path
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    people: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sign: str = "off"
    webhook: str | None = None
    webhook_secret_env: str | None = None
    apprise: tuple[str, ...] = ()
    served_runbooks: tuple[str, ...] | None = None
    telegram_token_env: str = "TELEGRAM_TOKEN"  # noqa: S105 - the name of a variable
    telegram_chat: int | None = None
    telegram_people: Mapping[str, str] = field(default_factory=dict)
    telegram_base_url: str | None = None
    services: Mapping[str, Service] = field(default_factory=dict)
    is_written: bool = False
    mcp: str = DEFAULT_MCP

    @property
    def mcp_file(self) -> Path:
        """The file that names the MCP servers; it may be missing."""
        return self.folder / self.mcp


def load_site(folder: Path, file: Path | None = None) -> Site:
    """Read the settings; without a file, return the defaults.

    Args:
        file: The settings file that the user named; None looks for `loom-ops.toml` in the folder.

    Raises:
        LoomOpsError: The named file does not exist, or the file has an error.
    """
    path = file or folder / SITE_FILE
    try:
        data = decode_toml(read_own_file(path))
    except FileNotFoundError as exc:
        if file is not None:
            raise LoomOpsError(f"cannot read {file}: there is no such file. Create it, or omit --config.") from exc
        return Site(folder, folder / DEFAULT_RULES, folder / DEFAULT_RUNBOOKS)
    except NotOwnFile as exc:
        raise LoomOpsError(f"cannot read {path}: {exc}") from exc
    except UnicodeDecodeError as exc:
        raise LoomOpsError(f"cannot read {path}: it is not UTF-8. Correct it.") from exc
    except OSError as exc:
        raise LoomOpsError(f"cannot read {path}: {exc.strerror}. Correct it.") from exc
    except ValueError as exc:
        raise LoomOpsError(f"cannot read {path}: {exc}. Correct the line.") from exc
    return _site(data, path)


def _site(data: dict[str, Any], path: Path) -> Site:
    _check_keys(data, path)
    notify, telegram = data.get("notify", {}), data.get("telegram", {})
    return Site(
        folder=path.parent,
        rules=path.parent / data.get("rules", DEFAULT_RULES),
        runbooks=path.parent / data.get("runbooks", DEFAULT_RUNBOOKS),
        groups={name: tuple(people) for name, people in data.get("groups", {}).items()},
        people=_people(data, path),
        sign=_sign(data, path),
        webhook=notify.get("webhook"),
        webhook_secret_env=notify.get("secret_env"),
        apprise=tuple(notify.get("apprise", ())),
        served_runbooks=_served_runbooks(data, path),
        telegram_token_env=telegram.get("token_env", "TELEGRAM_TOKEN"),
        telegram_chat=telegram.get("chat"),
        telegram_people=telegram.get("people", {}),
        telegram_base_url=telegram.get("base_url"),
        services={name: _service(name, table, path) for name, table in data.get("services", {}).items()},
        is_written=True,
        mcp=data.get("mcp", DEFAULT_MCP),
    )


def _check_keys(data: Mapping[str, Any], path: Path) -> None:
    for name, value in data.items():
        known = _KNOWN.get(name)
        if known is None:
            raise LoomOpsError(f"cannot read {path}: {name!r} is not known. Known: {', '.join(_KNOWN)}.")
        if isinstance(known, type):
            _check_type(value, known, name, path)
            continue
        _check_type(value, dict, name, path)
        for key, part in value.items():
            where = f"{name}.{key}"
            if name == "groups":
                _check_type(part, list, where, path)
                if not part or not all(isinstance(person, str) and person for person in part):
                    raise LoomOpsError(f'cannot read {path}: {where} is not a list of names. Write ["alice", "bob"].')
            elif name in ("people", "services"):
                _check_type(part, dict, where, path)
            elif key not in known:
                raise LoomOpsError(f"cannot read {path}: {where!r} is not known. Known in {name}: {', '.join(known)}.")
            else:
                _check_type(part, known[key], where, path)


def _sign(data: Mapping[str, Any], path: Path) -> str:
    mode: str = data.get("approvals", {}).get("sign", "off")
    if mode not in SIGN_MODES:
        raise LoomOpsError(f"cannot read {path}: approvals.sign is {mode!r}. Write one of {', '.join(SIGN_MODES)}.")
    return mode


def _people(data: Mapping[str, Any], path: Path) -> dict[str, tuple[str, ...]]:
    """Return the identities of each person; one of two people is an error."""
    people: dict[str, tuple[str, ...]] = {}
    owners: dict[str, str] = {}
    for number, name in data.get("telegram", {}).get("people", {}).items():
        if not isinstance(name, str) or not name:
            raise LoomOpsError(f'cannot read {path}: telegram.people.{number} is not a name. Write {number} = "alice".')
        owners[f"telegram:{number}"] = name
    for name, faces in data.get("people", {}).items():
        found: list[str] = []
        for face, listed in faces.items():
            kind = _FACES.get(face)
            if kind is None or not isinstance(listed, list) or not all(type(each) is kind and each for each in listed):
                raise LoomOpsError(
                    f"cannot read {path}: people.{name}.{face} is not a list of identities. Write os and token as "
                    "lists of names, telegram as a list of numbers."
                )
            found += [f"{face}:{each}" for each in listed]
        for identity in found:
            if owners.setdefault(identity, name) != name:
                raise LoomOpsError(
                    f"cannot read {path}: {identity} is {owners[identity]} and {name}. Give it to one person."
                )
        people[name] = tuple(found)
    _check_alike(
        {*people, *owners.values(), *(name for group in data.get("groups", {}).values() for name in group)}, path
    )
    return people


def _check_alike(names: set[str], path: Path) -> None:
    """Refuse two spellings of one name, which would count as two people; and a name with characters
    that are not seen.
    """
    spelled: dict[str, str] = {}
    for name in sorted(names):
        if visible_line(name) != name or name.strip() != name:
            raise LoomOpsError(f"cannot read {path}: the name {name!a} has characters that are not seen. Remove them.")
        plain = unicodedata.normalize("NFKC", name).casefold()
        if spelled.setdefault(plain, name) != name:
            raise LoomOpsError(
                f"cannot read {path}: {spelled[plain]!a} and {name!a} look alike, and would count as two people. "
                "Write the name in one way."
            )


def _served_runbooks(data: Mapping[str, Any], path: Path) -> tuple[str, ...] | None:
    names = data.get("serve", {}).get("runbooks")
    if names is None:
        return None
    if not all(isinstance(name, str) and name and "/" not in name for name in names):
        raise LoomOpsError(f'cannot read {path}: serve.runbooks is not a list of names. Write ["fix-api"].')
    return tuple(names)


def _service(name: str, table: Mapping[str, Any], path: Path) -> Service:
    unknown = sorted(table.keys() - {"runbooks", "inputs"})
    if unknown:
        raise LoomOpsError(f"cannot read {path}: 'services.{name}.{unknown[0]}' is not known. Known: runbooks, inputs.")
    runbooks, inputs = table.get("runbooks"), table.get("inputs", {})
    if runbooks is not None and not (isinstance(runbooks, list) and all(isinstance(each, str) for each in runbooks)):
        raise LoomOpsError(f'cannot read {path}: services.{name}.runbooks is not a list of names. Write ["fix-api"].')
    if not isinstance(inputs, dict) or not all(isinstance(value, str) for value in inputs.values()):
        raise LoomOpsError(
            f'cannot read {path}: services.{name}.inputs is not a table of texts. Write {{port = "80"}}.'
        )
    return Service(None if runbooks is None else tuple(runbooks), inputs)


def _check_type(value: object, kind: type, where: str, path: Path) -> None:
    if not isinstance(value, kind) or isinstance(value, bool):
        names = {str: "a text", int: "a whole number", list: "a list", dict: "a table"}
        raise LoomOpsError(f"cannot read {path}: {where} is not {names[kind]}. Correct it.")
