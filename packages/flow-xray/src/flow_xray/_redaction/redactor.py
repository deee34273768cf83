"""Redaction: values that look like secrets are masked before anything is stored.

Four mechanisms, applied to every value while it is frozen:

1. *Keys.* The value under a key that names a secret (`api_key`, `x-api-key`, `dbPassword`, ...) is
   masked at any depth, whatever its type. None and booleans stay: they reveal nothing and help to
   explain a run. A pair `("authorization", value)`, an object `{"name": "api_key", "value": ...}`
   and an option `["--token", ...]` are members, too.
2. *Texts.* The same keys inside a text: JSON, `key=value`, `key: value`, queries, XML, forms,
   options; the user part of a URL; known forms (API keys, JWT, PEM blocks, bearer headers) and
   custom patterns.
3. *Memory.* A text that was masked under its key is masked wherever it occurs later in the
   session: in an exception message, an output, a log line, also quoted for a URL or as JSON.
4. *Callables.* A callable `(key, value) -> value` gets every member of every object first. If it
   raises, the value is masked: a broken rule must not leak.

`input_tokens`, `max_tokens` and the like stay: a plural is a count, not a secret.

Not covered: a secret without a known form in free text that was never seen under its key; an
encoded secret (base64, gzip).
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

from flow_xray._redaction.secret_patterns import (
    Weight,
    bearers,
    has_mark,
    headers,
    keys_in_text,
    lines,
    looks_random,
    may_hold_secret,
    others,
    own_keys_in_text,
    shapes,
    users,
    value_in_text,
    weight_of,
    without_pem_end,
)

MASK: Final = "[redacted]"

Rule: TypeAlias = str | re.Pattern[str] | Callable[[str, object], object]
Rules: TypeAlias = Rule | Iterable[Rule]

_JSON_STARTS: Final = ("{", "[")
_MAX_KNOWN: Final = 500
_MIN_CACHED: Final = 200  # characters of a text whose redacted form is cached
_MAX_CACHED: Final = 4_000_000  # characters of all cached texts
_MIN_TEXT: Final = 6  # no shorter text can hold a key and a secret
_MIN_KNOWN: Final = 6  # a shorter secret would mask ordinary words
_NAMES: Final = ("name", "key", "header", "Name", "Key")
_NO_SECRETS: Final = frozenset(  # constants, and the types that follow a name in code and in schemas
    {"None", "null", "true", "false", "True", "False", "str", "bytes", "int", "bool", "string", "required", "optional"}
)
_VALUES: Final = ("value", "Value", "values")


class Redactor:
    """Mask values that must not be recorded.

    Args:
        rules: Rules in addition to the built-in ones: a key, a compiled pattern, a callable, or an
            iterable of them.
        base: A redactor whose rules and memory this one shares and extends.
    """

    __slots__ = (
        "_cache",
        "_cache_known",
        "_cache_size",
        "_own",
        "_own_text",
        "_plain_names",
        "_plain_names_known",
        "_stems",
        "_warned",
        "callables",
        "hidden",
        "keys",
        "known",
        "patterns",
    )

    def __init__(self, rules: Rules = (), base: "Redactor | None" = None) -> None:
        self.keys: set[str] = set(base.keys) if base else set()
        self.patterns: list[re.Pattern[str]] = list(base.patterns) if base else []
        self.callables: list[Callable[[str, object], object]] = list(base.callables) if base else []
        self.known: dict[str, None] = base.known if base else {}
        self.hidden: dict[str, Weight] = {}
        self._warned = False
        for rule in _listed(rules):
            if isinstance(rule, str):
                self.keys.add(rule)
            elif isinstance(rule, re.Pattern):
                self.patterns.append(rule)
            elif callable(rule):
                self.callables.append(rule)
            else:
                raise TypeError(
                    f"cannot redact by {rule!r}: because a rule is a key, a compiled pattern or a callable. Give one."
                )
        self._own = {_plain_key(key) for key in self.keys}
        self._stems = tuple(key.lower() for key in self.keys)
        self._own_text: re.Pattern[str] | None = None  # compiled at first need, or the import is slow
        self._cache: dict[str, str] = {}  # a chat is passed to every call; each of its messages is redacted once
        self._cache_known = self._cache_size = 0  # secrets known when it was filled; characters in it
        self._plain_names: set[str] = set()
        self._plain_names_known = 0

    def weight(self, key: str) -> Weight:
        """Return how much of the value under `key` must be masked."""
        found = self.hidden.get(key)
        if found is None:
            is_own = bool(self._own) and _plain_key(key) in self._own
            found = 3 if is_own else weight_of(key)
            if len(self.hidden) < 10_000:
                self.hidden[key] = found
        return found

    def hides(self, key: str) -> bool:
        """Return whether a text under `key` must be masked."""
        return self.weight(key) > 0

    def hides_value(self, key: str, value: object) -> bool:
        """Return whether this value under `key` must be masked."""
        weight = self.weight(key)
        if weight in (0, 3):
            return weight == 3
        if value is None or value is True or value is False or (type(value) is str and not value):
            return False
        return weight == 2 or isinstance(value, str | bytes | bytearray)

    def remember(self, value: object) -> None:
        """Mask this text from now on wherever it occurs in the session."""
        if isinstance(value, bytes | bytearray):
            value = bytes(value[:4_096]).decode("utf-8", "replace")
        if isinstance(value, str):
            secret = value.strip()
            self._add_known(secret)
            for word in secret.split() if " " in secret else ():
                if looks_random(word):
                    self._add_known(word)
        elif isinstance(value, list | tuple | set | frozenset):
            for item in list(value)[:20]:
                if isinstance(item, str | bytes):
                    self.remember(item)
        elif isinstance(value, dict):
            self.remember(list(value.values()))

    def _add_known(self, secret: str) -> None:
        if len(secret) < _MIN_KNOWN or MASK in secret or secret in self.known or len(self.known) >= _MAX_KNOWN:
            return
        self.known[secret] = None
        if not secret.isalnum():
            from json import dumps
            from urllib.parse import quote

            self.known[dumps(secret)[1:-1]] = None
            self.known[quote(secret, safe="")] = None

    def apply(self, key: str, value: object) -> object:
        """Return one member of an object as the user's callables replace it."""
        for rule in self.callables:
            try:
                value = rule(key, value)
            except Exception as error:  # noqa: BLE001  a rule of the user may raise anything; it must not leak
                if not self._warned:
                    self._warned = True
                    import warnings

                    warnings.warn(
                        f"flow-xray: the redact callable raised {type(error).__name__}; such values are masked.",
                        RuntimeWarning,
                        stacklevel=2,
                    )
                return MASK
        return value

    def text(self, text: str) -> str:
        """Return `text` without the secrets in it."""
        if self.known:
            text = self._without_known(text)
        for pattern in self.patterns:
            text = pattern.sub(MASK, text)
        if len(text) < _MIN_TEXT:
            return text
        if not may_hold_secret(text, self._stems):
            return text
        if len(text) < _MIN_CACHED:
            return self._redacted(text)
        if len(self.known) != self._cache_known or self._cache_size > _MAX_CACHED:
            self._cache.clear()
            self._cache_known, self._cache_size = len(self.known), 0
        clean = self._cache.get(text)
        if clean is None:
            clean = self._redacted(text)
            if len(self.known) == self._cache_known:
                self._cache[text] = clean
                self._cache_size += len(text)
        return clean

    def _redacted(self, text: str) -> str:
        before = len(self.known)
        text = self._masked(text)
        return self._without_known(text) if len(self.known) > before else text

    def name(self, name: str) -> str:
        """Return the name of a member without the secrets in it.

        Names repeat, so clean ones are cached.
        """
        if len(self.known) != self._plain_names_known or len(self._plain_names) > 10_000:
            self._plain_names.clear()
            self._plain_names_known = len(self.known)
        if name in self._plain_names:
            return name
        clean = self.text(name)
        if clean == name and len(self.known) == self._plain_names_known:
            self._plain_names.add(name)
        return clean

    def _without_known(self, text: str) -> str:
        for secret in tuple(self.known):
            if secret in text:
                text = text.replace(secret, MASK)
        return text

    def _masked(self, text: str) -> str:
        """Apply the slower patterns to a text that may hold a secret."""
        if text[:64].lstrip()[:1] in _JSON_STARTS:
            text = self._json(text)
        low = text.lower()
        if has_mark(text):
            text = shapes().sub(MASK, text)
        text = without_pem_end(text, MASK)
        if "authorization" in low or "cookie" in low:
            text = headers().sub(lambda found: f"{found[1]}{found[2]}{MASK}", text)
        if "@" in text:
            text = users().sub(self._user, text)
        if ": " in text:
            text = lines().sub(self._line, text)
        if "=" in text or ":" in text or "%3" in text:
            text = self._members(text)
        text = others().sub(self._other, text)
        if "bearer" in low or "basic" in low:
            text = bearers().sub(lambda found: f"{found[1]} {MASK}", text)
        if self.keys:
            if self._own_text is None:
                self._own_text = own_keys_in_text(self.keys)
            text = self._own_text.sub(lambda found: f"{found[1]}{found[2] or ''}{MASK}", text)
        return text

    def _members(self, text: str) -> str:
        """Mask the values of `key=value` and similar forms."""
        keys, values = keys_in_text(), value_in_text()
        parts: list[str] = []
        done = 0
        found = keys.search(text)
        while found is not None:
            at = found.end()
            if self.weight(found["key"]):
                value = values.match(text, at)
                masked = None if value is None else self._masked_value(value, self.weight(found["key"]))
                if value is not None and masked is not None:
                    parts += [text[done:at], masked]
                    done = at = value.end()
            found = keys.search(text, at)
        return "".join([*parts, text[done:]]) if parts else text

    def _masked_value(self, found: "re.Match[str]", weight: Weight) -> str | None:
        """Return what replaces a value in a text, or None when it is not a secret."""
        value = found[0]
        if value.startswith(MASK) or value in _NO_SECRETS:
            return None
        quote = found["triple"] or found["quote"] or ""
        bare = value.lstrip("bBrRuUfF").removeprefix(quote) if quote else value
        if found["triple"]:
            bare = bare.removesuffix(quote)
        if not bare or bare.startswith(MASK) or (weight == 1 and not looks_random(bare)):
            return None
        if looks_random(bare):
            self.remember(bare)
        return f"{quote}{MASK}{quote if found['triple'] else ''}"

    def _line(self, found: "re.Match[str]") -> str:
        is_secret = self.weight(found["key"].strip(" \t-")) > 1
        if not is_secret or "=" in found["value"] or found["value"].rstrip(",;:") in _NO_SECRETS:
            return found[0]
        return f"{found['key']}: {MASK}"

    def _other(self, found: "re.Match[str]") -> str:
        groups = found.groupdict()
        for number in range(1, 9):
            value = groups.get(f"v{number}")
            if value is None:
                continue
            key = groups.get(f"k{number}")
            is_prose = number == 7
            if (
                not value
                or MASK in value
                or (key is not None and not self.hides(key.strip("-")))
                or (is_prose and not looks_random(value))
            ):
                return found[0]
            if looks_random(value):
                self.remember(value)
            start = found.start(f"v{number}") - found.start()
            return f"{found[0][:start]}{MASK}{found[0][start + len(value) :]}"
        return found[0]

    def _user(self, found: "re.Match[str]") -> str:
        _, colon, secret = found[2].partition(":")
        if not colon and not looks_random(found[2]):
            return found[0]
        if looks_random(secret):
            self.remember(secret)
        return f"{found[1]}{MASK}@"

    def _json(self, text: str) -> str:
        """Redact by key inside a text that is JSON; return the same text when nothing is masked."""
        import json

        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return text
        changed = False
        stack: list[Any] = [value]
        while stack:
            node = stack.pop()
            places: list[tuple[Any, Any]] = []
            if isinstance(node, list):
                hidden = self.secret_items(node)
                places = list(enumerate(node))
            elif isinstance(node, dict):
                hidden = self.secret_members(node)
                places = list(node.items())
            else:
                continue
            for place, member in places:
                if place in hidden or (isinstance(place, str) and self.hides_value(place, member)):
                    if member != MASK:
                        self.remember(member)
                        node[place] = MASK
                        changed = True
                elif isinstance(member, str):
                    clean = self.text(member)
                    if clean != member:
                        node[place] = clean
                        changed = True
                else:
                    stack.append(member)
        return json.dumps(value) if changed else text

    def secret_items(self, items: "list[object] | tuple[object, ...]") -> "frozenset[int | str]":
        """Return the indexes of secrets in a list: the second of a pair, what follows an option."""
        if len(items) == 2 and isinstance(items[0], str | bytes):
            if not isinstance(items[1], str | bytes | list | tuple | dict):
                return _NONE
            key = items[0] if isinstance(items[0], str) else items[0].decode("latin-1")
            return frozenset((1,)) if len(key) <= 80 and self.hides(key.lstrip("-")) else _NONE
        found = [
            place + 1
            for place, item in enumerate(items)
            if type(item) is str and item[:1] == "-" and len(item) <= 80 and self.hides(item.lstrip("-"))
        ]
        return frozenset(found) if found else _NONE

    def secret_members(self, members: Mapping[Any, object]) -> "frozenset[int | str]":
        """Return the key of a secret that is named by another member, as in {"name", "value"}."""
        for value in _VALUES:
            if value in members:
                names = (members.get(name) for name in _NAMES)
                if any(
                    isinstance(name, str) and len(name) <= 80 and self.hides_value(name, members[value])
                    for name in names
                ):
                    return frozenset((value,))
        return _NONE


_NONE: Final[frozenset[int | str]] = frozenset()


def _plain_key(key: str) -> str:
    """Return a key without case and separators."""
    return re.sub(r"[^a-z0-9]", "", key.lower()) or key


def _listed(rules: Rules) -> list[Rule]:
    if isinstance(rules, str | re.Pattern) or callable(rules):
        return [rules]
    return list(rules)
