"""Redaction: what looks like a secret is gone before anything is kept.

Four nets, applied to every value while it is frozen:

1. *Keys.* The value under a key that names a secret (`api_key`, `x-api-key`, `db_password`, ...) is masked at
   any depth, whatever it is.
2. *Texts.* The same keys inside a text: JSON in a string, `key=value`, `key: value`, query strings; the user
   part of a URL; well known shapes (API keys, JWT, PEM blocks, bearer headers) and your own patterns.
3. *Memory.* A text that was once masked under its key is masked wherever it turns up later in the session:
   in an exception message, an output, a log line.
4. *Yours.* A callable `(key, value) -> value` sees every member of every object first. If it raises, the
   value is masked: a broken rule must not leak.

`input_tokens`, `max_tokens` and their like survive: a plural is a count, not a secret.
"""

import re
import warnings
from collections.abc import Callable, Iterable
from functools import cache
from typing import Final, TypeAlias

MASK: Final = "[redacted]"

Rule: TypeAlias = str | re.Pattern[str] | Callable[[str, object], object]
Rules: TypeAlias = Rule | Iterable[Rule]

_EXACT: Final = frozenset(
    {
        "auth",
        "authorization",
        "bearer",
        "cookie",
        "jwt",
        "passphrase",
        "passwd",
        "pwd",
        "setcookie",
        "token",
        "credential",
        "credentials",
    }
)
_ENDINGS: Final = (
    *("apikey", "accesskey", "secretkey", "privatekey", "signingkey", "password", "passphrase", "secret"),
    *("authtoken", "accesstoken", "refreshtoken", "idtoken", "bearertoken", "sessiontoken", "apitoken", "bottoken"),
)
_STEMS: Final = ("key", "passw", "pwd", "secret", "token", "auth", "cookie", "bearer")
_TEXT_KEYS: Final = (
    r"[\w.-]{0,60}(?:api[_-]?key|access[_-]?key|secret[_-]?key|private[_-]?key|signing[_-]?key|password|passwd|secret|"
    r"auth[_-]?token|access[_-]?token|refresh[_-]?token|id[_-]?token|session[_-]?token|api[_-]?token)|token|authorization|cookie|pwd"
)
_JSON_STARTS: Final = ("{", "[")
_JUNK: Final = re.compile(r"[^a-z0-9]")
_MAX_KNOWN: Final = 500
_SHORTEST: Final = 6  # no shorter text can hold a key and a secret
_MIN_KNOWN: Final = 6  # shorter texts would mask ordinary words


class Redactor:
    """Decide what may be kept.

    Args:
        rules: more rules beside the built-in ones: a key, a compiled pattern, a callable, or an iterable of them.
        base: a redactor whose rules and memory this one shares and extends.
    """

    __slots__ = ("_hints", "_text_keys", "_warned", "callables", "hidden", "keys", "known", "patterns")

    def __init__(self, rules: Rules = (), base: "Redactor | None" = None) -> None:
        self.keys: set[str] = set(base.keys) if base else set()
        self.patterns: list[re.Pattern[str]] = list(base.patterns) if base else []
        self.callables: list[Callable[[str, object], object]] = list(base.callables) if base else []
        self.known: dict[str, None] = base.known if base else {}
        self.hidden: dict[str, bool] = {}
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
        self._hints: re.Pattern[str] | None = None
        self._text_keys: re.Pattern[str] | None = None  # compiled at first need, or the import is slow

    def hides(self, key: str) -> bool:
        """Say whether the value under `key` must not be kept."""
        hidden = self.hidden.get(key)
        if hidden is None:
            plain = _JUNK.sub("", key.lower())
            hidden = (
                plain in _EXACT
                or plain.endswith(_ENDINGS)
                or (plain.endswith("token") and not key.isalpha())
                or any(plain == _JUNK.sub("", own.lower()) for own in self.keys)
            )
            if len(self.hidden) < 10_000:
                self.hidden[key] = hidden
        return hidden

    def remember(self, value: object) -> None:
        """Mask this text from now on wherever it appears in the session."""
        if isinstance(value, str):
            secret = value.strip()
            if len(secret) >= _MIN_KNOWN and secret != MASK and len(self.known) < _MAX_KNOWN:
                self.known[secret] = None
        elif isinstance(value, list | tuple | set):
            for item in list(value)[:20]:
                if isinstance(item, str):
                    self.remember(item)
        elif isinstance(value, dict):
            self.remember(list(value.values()))

    def apply(self, key: str, value: object) -> object:
        """Give the user's callables their say about one member of an object."""
        for rule in self.callables:
            try:
                value = rule(key, value)
            except Exception as error:  # noqa: BLE001  a rule of the user may raise anything; it must not leak
                if not self._warned:
                    self._warned = True
                    warnings.warn(
                        f"flow-xray: the redact callable raised {type(error).__name__}; such values are masked.",
                        RuntimeWarning,
                        stacklevel=2,
                    )
                return MASK
        return value

    def text(self, text: str) -> str:
        """Return `text` without the secrets in it."""
        known = self.known
        if known:
            for secret in tuple(known):
                if secret in text:
                    text = text.replace(secret, MASK)
        for pattern in self.patterns:
            text = pattern.sub(MASK, text)
        if len(text) < _SHORTEST:
            return text
        hints = self._hints
        if hints is None:
            hints = self._hints = _hints(self.keys)
        if hints.search(text) is None:
            return text
        return self._masked(text)

    def _masked(self, text: str) -> str:
        """Apply the slower nets to a text that looks as if it might need them."""
        if text[:64].lstrip()[:1] in _JSON_STARTS:
            text = self._json(text)
        if self._text_keys is None:
            self._text_keys = _text_pattern(self.keys)
        header, bearer, shapes, url_user = _shapes()
        text = header.sub(lambda found: f"{found[1]}{found[2]}{MASK}", text)
        text = self._text_keys.sub(lambda found: f"{found[1]}{found[2] or ''}{MASK}", text)
        text = shapes.sub(MASK, text)
        text = bearer.sub(lambda found: f"{found[1]} {MASK}", text)
        return url_user.sub(lambda found: f"{found[1]}{MASK}@", text)

    def _json(self, text: str) -> str:
        """Redact by key inside a text that is JSON; leave its spelling alone when nothing is hidden."""
        import json  # noqa: PLC0415  a third of the import otherwise

        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return text
        changed = False
        stack: list[object] = [value]
        while stack:
            node = stack.pop()
            if isinstance(node, list):
                stack.extend(node)
            elif isinstance(node, dict):
                for key, member in node.items():
                    if self.hides(key):
                        if member != MASK:
                            self.remember(member)
                            node[key] = MASK
                            changed = True
                    else:
                        stack.append(member)
        return json.dumps(value) if changed else text


def _hints(keys: "set[str]") -> "re.Pattern[str]":
    """Match what every text has that one of the slower nets could catch."""
    stems = "|".join(
        ["key", "passw", "pwd", "secret", "token", "auth", "cookie", "bearer", *(re.escape(key) for key in keys)]
    )
    return re.compile(
        rf"(?i:{stems})|eyJ|sk-|[rs]k_|gh[pousr]_|github_pat|glpat-|xox|AKIA|ASIA|AIza|hf_|-----BEGIN|://[^/\s]*@"
    )


@cache
def _shapes() -> "tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str], re.Pattern[str]]":
    """Return the patterns of headers, bearer words, well known keys, and users in URLs; compiled at first need."""
    return (
        re.compile(
            r"""\b((?:proxy-)?authorization|(?:set-)?cookie)(\\*["']?\s*:\s*\\*["']?)[^\r\n"'\\]+""", re.IGNORECASE
        ),
        re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE),
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
            r"|\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"
            r"|\bsk-[A-Za-z0-9_-]{16,}"
            r"|\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abeoprs]-[\w-]{10,})"
            r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bAIza[\w-]{30,}|\bhf_[A-Za-z0-9]{20,}|\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"
        ),
        re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]{1,20}://)[^/\s:@?#]*:[^/\s@?#]+@"),
    )


def _text_pattern(keys: "set[str]") -> "re.Pattern[str]":
    """Match a secret's key in a text, what stands between, an opening quote, and the value up to its end."""
    names = "|".join([_TEXT_KEYS, *(re.escape(key) for key in sorted(keys, key=len, reverse=True))])
    return re.compile(
        rf"""(?<![\w.-])((?:{names})\\*["']?\s*[:=]\s*)(\\*["'])?(?!\[redacted\])"""
        r"""(?(2)(?:(?!\2)(?:\\.|[^\\]))*|[^\s"'&,;)}\]]+)""",
        re.IGNORECASE,
    )


def _listed(rules: Rules) -> list[Rule]:
    if isinstance(rules, str | re.Pattern) or callable(rules):
        return [rules]
    return list(rules)
