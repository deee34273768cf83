"""Redaction: values that look like secrets are masked before anything is stored.

Five mechanisms, applied to every value while it is frozen:

1. *Keys.* The value under a key that names a secret (`api_key`, `x-api-key`, `dbPassword`, ...) is
   masked at any depth, unless it says that it is none: a constant (`required`), a reference
   (`${NAME}`), a path, a small number. Under a key that often names none (`token`, `auth`), words
   of a language stay, too. None and booleans stay. A pair `("authorization", value)`, an object
   `{"name": "api_key", "value": ...}` and an option `["--token", ...]` are members, too.
2. *Texts.* The same keys inside a text: JSON, `key=value`, `key: value`, queries, XML, forms,
   options; the user part of a URL; secrets at a known position of a command or a file.
3. *Forms.* API keys of known vendors, JWT, PEM blocks, webhook URLs; the user's patterns.
4. *Memory.* A generated text that was masked under its key is masked wherever it occurs later in
   the session: in an exception message, an output, a log line, also quoted for a URL or as JSON.
   Words and paths are not remembered. Of many, those that have not been seen for the longest time
   are forgotten. `secrets` are known from the beginning and are never forgotten.
5. *Callables.* A callable `(key, value) -> value` gets every member of every object first. If it
   raises, the value is masked: a broken rule must not leak.

`input_tokens`, `max_tokens` and the like stay: a plural is a count, not a secret.

Not covered: a secret without a known form in free text that was never seen under its key; an
encoded secret (base64, gzip).
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

from flow_xray._redaction.memory import Memory
from flow_xray._redaction.plain_values import is_plain, is_weakly_plain, looks_random
from flow_xray._redaction.secret_patterns import Weight, may_hold_secret, own_keys_in_text, secret_data, weight_of

MASK: Final = "[redacted]"

Rule: TypeAlias = str | re.Pattern[str] | Callable[[str, object], object]
Rules: TypeAlias = Rule | Iterable[Rule]

_MIN_CACHED: Final = 200  # characters of a text whose redacted form is cached
_MAX_CACHED: Final = 4_000_000  # characters of all cached texts
_MIN_TEXT: Final = 6  # no shorter text can hold a key and a secret
_MIN_NUMBER: Final = 1_000  # a smaller number is a count
_MAX_DEPTH: Final = 6  # what is deeper or larger is looked at when it is copied
_MAX_MEMBERS: Final = 50
_NAMES: Final = ("name", "key", "header", "Name", "Key")
_VALUES: Final = ("value", "Value", "values")


class Redactor:
    """Mask values that must not be recorded.

    Args:
        rules: Rules in addition to the built-in ones: a key, a compiled pattern, a callable, or an
            iterable of them.
        base: A redactor whose rules and memory this one shares and extends.
        secrets: Values that are masked wherever they occur.
        remembers: Whether a secret that was found under its key is masked elsewhere later. Without
            memory the result depends on the value alone, so it is the same in a resumed run.
    """

    __slots__ = (
        "_cache",
        "_cache_size",
        "_cache_version",
        "_own",
        "_own_text",
        "_plain_names",
        "_plain_names_version",
        "_remembers",
        "_stems",
        "_warned",
        "callables",
        "hidden",
        "keys",
        "known",
        "patterns",
    )

    def __init__(
        self,
        rules: Rules = (),
        base: "Redactor | None" = None,
        *,
        secrets: Iterable[str] = (),
        remembers: bool = True,
    ) -> None:
        self.keys: set[str] = set(base.keys) if base else set()
        self.patterns: list[re.Pattern[str]] = list(base.patterns) if base else []
        self.callables: list[Callable[[str, object], object]] = list(base.callables) if base else []
        self.known: Memory = base.known if base else Memory()
        self._remembers = remembers
        for secret in secrets:
            self.known.add(secret, is_certain=True)
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
        self._cache_version = self._cache_size = 0  # of the memory when it was filled; characters in it
        self._plain_names: set[str] = set()
        self._plain_names_version = 0

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
        """Return whether this value under `key` must be masked, or a part of it if it has parts."""
        weight = self.weight(key)
        if weight in (0, 3):
            return weight == 3
        return self.is_secret(value, weight)

    def is_secret(self, value: object, weight: int, depth: int = 0) -> bool:
        """Return whether a value under a key of this weight must be masked, at least in part."""
        if value is None or value is True or value is False:
            return False
        if isinstance(value, bytes | bytearray):
            value = bytes(value[:4_096]).decode("utf-8", "replace")
        if isinstance(value, str):
            return not (is_plain(value) if weight > 1 else is_weakly_plain(value))
        if isinstance(value, int | float):
            return weight > 1 and abs(value) >= _MIN_NUMBER
        if isinstance(value, dict | list | tuple) and depth < _MAX_DEPTH and len(value) <= _MAX_MEMBERS:
            members = value.values() if isinstance(value, dict) else value
            return any(self.is_secret(member, weight, depth + 1) for member in members)
        return True

    def masked(self, value: Any, weight: int) -> Any:
        """Return the JSON under a key that names a secret, with the secrets in it masked."""
        if isinstance(value, dict):
            return {key: self.masked(member, weight) for key, member in value.items()}
        if isinstance(value, list):
            return [self.masked(item, weight) for item in value]
        if not self.is_secret(value, weight):
            return value
        self.remember(value)
        return MASK

    def remember(self, value: object) -> None:
        """Mask this text from now on wherever it occurs in the session, if it looks generated."""
        if not self._remembers:
            return
        if isinstance(value, bytes | bytearray):
            value = bytes(value[:4_096]).decode("utf-8", "replace")
        if isinstance(value, str):
            secret = value.strip()
            generated = [word for word in secret.split() if looks_random(word)]
            for text in (secret, *generated) if generated else ():
                if MASK not in text:
                    self.known.add(text)
        elif isinstance(value, list | tuple | set | frozenset):
            for item in list(value)[:20]:
                if isinstance(item, str | bytes):
                    self.remember(item)
        elif isinstance(value, dict):
            self.remember(list(value.values()))

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
        if self.known.version != self._cache_version or self._cache_size > _MAX_CACHED:
            self._cache.clear()
            self._cache_version, self._cache_size = self.known.version, 0
        clean = self._cache.get(text)
        if clean is None:
            clean = self._redacted(text)
            if self.known.version == self._cache_version:
                self._cache[text] = clean
                self._cache_size += len(text)
        return clean

    def certain(self, value: Any) -> Any:
        """Return a JSON value without the secrets in it that cannot be anything else: those of a
        known form, and the known values. A value under a key stays, as `password="example"` in
        code.
        """
        if isinstance(value, str):
            from flow_xray._redaction.known_forms import has_mark, mask_forms

            text = self._without_known(value) if self.known else value
            return mask_forms(text, MASK) if has_mark(text) else text
        if isinstance(value, dict):
            return {self.certain(key): self.certain(member) for key, member in value.items()}
        return [self.certain(item) for item in value] if isinstance(value, list) else value

    def _redacted(self, text: str) -> str:
        from flow_xray._redaction.redact_text import redact_text  # its patterns are compiled at first need

        before = self.known.version
        text = redact_text(text, self, MASK)
        if self.keys:
            if self._own_text is None:
                self._own_text = own_keys_in_text(self.keys)
            text = self._own_text.sub(lambda found: f"{found[1]}{found[2] or ''}{MASK}", text)
        return self._without_known(text) if self.known.version != before else text

    def value(self, value: Any) -> Any:
        """Return a JSON value without the secrets in it; the same object when it has none."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            hidden: frozenset[int | str] = self.secret_members(value)
            members = {
                self.name(key): (
                    self.masked(member, max(1, self.weight(key)))
                    if key in hidden or self.hides_value(key, member)
                    else self.value(member)
                )
                for key, member in value.items()
            }
            return value if all(a is b for a, b in zip(members.values(), value.values(), strict=False)) else members
        if isinstance(value, list):
            hidden = self.secret_items(value)
            items = [self.masked(item, 1) if place in hidden else self.value(item) for place, item in enumerate(value)]
            return value if all(a is b for a, b in zip(items, value, strict=True)) else items
        return value

    def name(self, name: str) -> str:
        """Return the name of a member without the secrets in it.

        Names repeat, so clean ones are cached.
        """
        if self.known.version != self._plain_names_version or len(self._plain_names) > 10_000:
            self._plain_names.clear()
            self._plain_names_version = self.known.version
        if name in self._plain_names:
            return name
        clean = self.text(name)
        if clean == name and self.known.version == self._plain_names_version:
            self._plain_names.add(name)
        return clean

    def _without_known(self, text: str) -> str:
        return self.known.masked(text, MASK)

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
        """Return the keys of secrets that other members name: {"name", "value"}, a Kubernetes
        Secret.
        """
        if "kind" in members and (data := secret_data(members)):
            return frozenset(data)
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
