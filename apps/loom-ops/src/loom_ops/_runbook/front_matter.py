"""Read the front matter of a runbook: title, kind, inputs, secrets and approval policies."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from loom_ops._runbook.model import DEFAULT_TTL_S, ApprovalPolicy, Input, SecretSource
from loom_ops._runbook.template import scalar_text
from loom_ops._runbook.yaml_mapping import Keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loom_ops._runbook.draft import Draft

__all__ = ["read_front_matter"]

MAX_APPROVERS: Final = 20

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FRONT_KEYS: Final = {"loom", "title", "summary", "kind", "match", "inputs", "secrets", "approvals"}
_INPUT_KEYS: Final = {"type", "pattern", "enum", "default", "env", "description"}
_POLICY_KEYS: Final = {"group", "count", "ttl", "not_requester", "on_timeout", "edits"}


def read_front_matter(draft: Draft, keys: Keys) -> None:
    """Put the values of the front matter into the draft."""
    draft.check_keys(keys, _FRONT_KEYS, "the front matter")
    if keys.get("loom", 1) != 1:
        draft.error(
            keys.lines["loom"],
            f"this is a runbook of format {keys['loom']!r}, and only format 1 is known",
            "Write loom: 1",
        )
    draft.title = draft.text(keys, "title")
    draft.summary = draft.text(keys, "summary")
    if keys.get("kind", "remedy") in ("remedy", "change"):
        draft.kind = keys.get("kind", "remedy")
    else:
        draft.error(keys.lines["kind"], f"the kind {keys['kind']!r} is unknown", "Use remedy or change")
    match = keys.get("match", [])
    if isinstance(match, list) and all(isinstance(word, str) for word in match):
        draft.match = tuple(word.lower() for word in match)
    else:
        draft.error(keys.lines["match"], "match is not a list of words", "Write match: [latency, slow]")
    for name, value in _entries(draft, keys, "inputs"):
        _read_input(draft, name, value, keys["inputs"].lines[name])
    for name, value in _entries(draft, keys, "secrets"):
        _read_secret(draft, name, value, keys["secrets"].lines[name])
    for name, value in _entries(draft, keys, "approvals"):
        _read_policy(draft, name, value)


def _entries(draft: Draft, keys: Keys, name: str) -> Iterator[tuple[str, Keys]]:
    group = keys.get(name)
    if group is None:
        return
    if not isinstance(group, Keys):
        draft.error(keys.lines[name], f"{name} is not a mapping", f"Write {name}: {{name: {{...}}}}")
        return
    for entry, value in group.items():
        line = group.lines[entry]
        if not _NAME.fullmatch(entry):
            draft.error(line, f"{entry!r} is not a name", "Use letters, digits and _, and begin with a letter")
        elif not isinstance(value, Keys):
            draft.error(line, f"{entry} in {name} is not a mapping", "Write its keys in {...} or below it")
        else:
            yield entry, value


def _read_input(draft: Draft, name: str, keys: Keys, line: int) -> None:
    draft.check_keys(keys, _INPUT_KEYS, f"input {name}")
    kind = keys.get("type", "string")
    if kind not in ("string", "integer", "number", "boolean"):
        draft.error(
            keys.lines["type"],
            f"input {name} has the unknown type {kind!r}",
            "Use string, integer, number or boolean",
        )
        kind = "string"
    pattern = None
    if "pattern" in keys:
        try:
            pattern = re.compile(keys["pattern"])
        except (re.error, TypeError) as exc:
            draft.error(
                keys.lines["pattern"],
                f"the pattern of input {name} is not a regular expression ({exc})",
                "Correct the pattern",
            )
    enum = keys.get("enum", [])
    if not isinstance(enum, list):
        draft.error(keys.lines["enum"], f"enum of input {name} is not a list", "Write enum: [a, b]")
        enum = []
    default = keys.get("default")
    draft.inputs[name] = Input(
        name=name,
        line=line,
        type=cast("Any", kind),
        pattern=pattern,
        enum=tuple(scalar_text(value) for value in enum),
        default=None if default is None else scalar_text(default),
        variable=draft.text(keys, "env") or None,
        description=draft.text(keys, "description"),
    )


def _read_secret(draft: Draft, name: str, keys: Keys, line: int) -> None:
    draft.check_keys(keys, {"env", "file", "hosts", "commands"}, f"secret {name}")
    kinds = [kind for kind in ("env", "file") if isinstance(keys.get(kind), str)]
    if len(kinds) != 1:
        draft.error(
            line,
            f"secret {name} has no location",
            "Write {env: VARIABLE} or {file: PATH}, never the secret itself",
        )
        return
    hosts, commands = (_words(draft, keys, name, key) for key in ("hosts", "commands"))
    kind: Literal["env", "file"] = "env" if kinds == ["env"] else "file"
    draft.secrets[name] = SecretSource(name, line, kind, keys[kinds[0]], hosts, commands)


def _words(draft: Draft, keys: Keys, secret: str, key: str) -> tuple[str, ...] | None:
    if key not in keys:
        return None
    words = keys[key]
    if not isinstance(words, list) or not all(isinstance(word, str) and word for word in words):
        draft.error(keys.lines[key], f"{key} of secret {secret} is not a list of names", f"Write {key}: [name, ...]")
        return ()
    return tuple(word.lower() if key == "hosts" else word for word in words)


def _read_policy(draft: Draft, name: str, keys: Keys) -> None:
    draft.check_keys(keys, _POLICY_KEYS, f"approval {name}")
    count = keys.get("count", 1)
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MAX_APPROVERS:
        fix = f"Write a number from 1 to {MAX_APPROVERS}"
        draft.error(keys.lines["count"], f"count of approval {name} is {count!r}", fix)
        count = 1
    if keys.get("on_timeout", "deny") != "deny":
        draft.error(
            keys.lines["on_timeout"],
            f"on_timeout of approval {name} is {keys['on_timeout']!r}",
            "Write deny: a request that nobody answers is never approved",
        )
    not_requester = keys.get("not_requester", False)
    if not isinstance(not_requester, bool):
        draft.error(
            keys.lines["not_requester"],
            f"not_requester of approval {name} is {not_requester!r}",
            "Write true or false",
        )
        not_requester = True
    edits = keys.get("edits", "none")
    if edits not in ("none", "inputs"):
        draft.error(
            keys.lines["edits"],
            f"edits of approval {name} is {edits!r}",
            "Write none, or inputs to let people give the inputs in a command other values",
        )
        edits = "none"
    ttl_s = draft.duration_s(keys, "ttl") or DEFAULT_TTL_S
    group = draft.text(keys, "group") or "operators"
    draft.approvals[name] = ApprovalPolicy(name, group, count, ttl_s, not_requester, edits=edits)
