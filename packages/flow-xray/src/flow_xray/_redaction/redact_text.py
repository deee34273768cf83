"""Mask the secrets inside a text: by key, by position, by form."""

import json
import re
from typing import Any, Final, Protocol

from flow_xray._redaction.known_forms import has_mark, mask_forms
from flow_xray._redaction.plain_values import (
    is_basic,
    is_code,
    is_generated,
    is_plain,
    is_prose,
    is_weakly_plain,
    looks_random,
)
from flow_xray._redaction.secret_patterns import (
    Weight,
    bearers,
    forms,
    headers,
    keys_in_text,
    kind_secret,
    kubernetes_secrets,
    lines,
    users,
    value_in_text,
)

_JSON_STARTS: Final = ("{", "[")
_REFERENCES: Final = ("${", "$(", "{{", "<%", "%(")
_SCHEMES: Final = frozenset({"basic", "bearer", "digest", "token", "apikey", "negotiate", "ntlm", "aws4-hmac-sha256"})
_LITERAL: Final = re.compile(r"""\\*(["'])((?:(?!\1)[^\\]|\\.)*)""")
_OWN: Final = 3


class Keys(Protocol):
    """The part of a redactor that knows keys and remembers secrets."""

    hidden: dict[str, Weight]

    def weight(self, key: str) -> Weight:
        """Return how surely a key names a secret."""
        ...

    def is_secret(self, value: object, weight: int) -> bool:
        """Return whether a value under a key of this weight must be masked."""
        ...

    def remember(self, value: object) -> None:
        """Mask this text from now on."""
        ...

    def value(self, value: Any) -> Any:
        """Return a JSON value without the secrets in it."""
        ...


def redact_text(text: str, redactor: Keys, mask: str) -> str:
    """Return a text without the secrets in it; the slower patterns are applied here."""
    return _Text(redactor, mask).redacted(text)


class _Text:
    """One pass over one text."""

    __slots__ = ("_clear_until", "_mask", "_redactor")

    def __init__(self, redactor: Keys, mask: str) -> None:
        self._redactor = redactor
        self._mask = mask
        self._clear_until = 0  # a bracketed value up to here holds no secret, so none inside it does

    def redacted(self, text: str) -> str:
        mask = self._mask
        if text[:64].lstrip()[:1] in _JSON_STARTS:
            text = self._json(text)
        low = text.lower()
        if has_mark(text):
            text = mask_forms(text, mask)
        if "kind:" in text and kind_secret().search(text):
            text = kubernetes_secrets().sub(self._kubernetes, text)
        if "authorization" in low or "cookie" in low:
            text = headers().sub(self._header, text)
        if "@" in text:
            text = users().sub(self._user, text)
        if ": " in text:
            text = lines().sub(self._line, text)
        if "=" in text or ":" in text or "%3" in text:
            text = self._members(text)
        for needed, form in forms():
            for word in needed:
                if word in low:
                    text = form.sub(self._other, text)
                    break
        if "bearer" in low or "basic" in low:
            text = bearers().sub(self._bearer, text)
        return text

    def _members(self, text: str) -> str:
        """Mask the values of `key=value` and similar forms."""
        keys, values = keys_in_text(), value_in_text()
        parts: list[str] = []
        done = 0
        self._clear_until = 0
        weight_of = self._redactor.weight
        known = self._redactor.hidden.get
        is_searching = True
        while is_searching:
            is_searching = False
            for found in keys.finditer(text, done):
                key = found["key"]
                weight = known(key)
                if weight is None:
                    weight = weight_of(key)
                if not weight or (":" in found["between"] and text[found.start() - 1 : found.start()] == "/"):
                    continue
                at = found.end()
                value = None if text.startswith(_REFERENCES, at) else values.match(text, at)
                masked = None if value is None else self._masked_value(value, weight, found["between"].strip())
                if value is not None and masked is not None:
                    parts += [text[done:at], masked]
                    done = value.end()
                    is_searching = True
                    break
        return "".join([*parts, text[done:]]) if parts else text

    def _masked_value(self, found: "re.Match[str]", weight: Weight, between: str) -> str | None:
        """Return what replaces a value in a text, or None when it is not a secret."""
        value = found[0]
        if value.startswith(self._mask):
            return None
        quote = found["triple"] or found["quote"] or ""
        bare = value.lstrip("bBrRuUfF").removeprefix(quote) if quote else value
        if found["triple"]:
            bare = bare.removesuffix(quote)
        if not bare or bare.startswith(self._mask) or not self._is_secret(found, bare, weight, quote, between):
            return None
        if not quote and not found["triple"] and bare[0] not in "|>" and self._is_in_prose(found, bare, between):
            return None
        self._redactor.remember(bare)
        return f"{quote}{self._mask}{quote if found['triple'] else ''}"

    def _is_secret(self, found: "re.Match[str]", bare: str, weight: Weight, quote: str, between: str) -> bool:
        if weight == _OWN:
            return True
        plain = is_plain if weight > 1 else is_weakly_plain
        if quote:
            return not plain(bare)
        if bare[0] in "|>" and "\n" in bare:
            content = bare.partition("\n")[2].strip()
            return not is_prose(content) if weight > 1 else not is_weakly_plain(content)
        if bare[0] in "[{" or "(" in bare:
            if found.start() < self._clear_until:
                return False
            self._clear_until = found.end()
            literals = [each[2] for each in _LITERAL.finditer(bare)]
            if literals:
                return not all(plain(each) for each in literals)
            return any(is_generated(word) for word in re.split(r"[\s,()\[\]{}:=]+", bare))
        if "=" in between and is_code(bare):
            return False
        return is_generated(bare) if between == "==" else not plain(bare)

    def _is_in_prose(self, found: "re.Match[str]", bare: str, between: str) -> bool:
        """Return whether a word after `key:` begins a sentence."""
        if ":" not in between or is_generated(bare):
            return False
        end = found.string.find("\n", found.end(), found.end() + 200)
        rest = found.string[found.start() : end if end >= 0 else found.end() + 200]
        return len(rest.split()) > 1 and is_prose(rest)

    def _line(self, found: "re.Match[str]") -> str:
        weight = self._redactor.weight(found["key"].strip(" \t-"))
        value = found["value"]
        is_open = value.startswith((*_REFERENCES, self._mask)) or (weight < _OWN and is_plain(value))
        if weight < 2 or "=" in value or is_open:
            return found[0]
        if is_code(value.split()[0]) and "_" not in value.split()[0]:
            return found[0]
        self._redactor.remember(value)
        return f"{found['key']}: {self._mask}"

    def _other(self, found: "re.Match[str]") -> str:
        group = found.lastgroup or ""
        value = found[group]
        bare = value.strip("\"'") if group == "s" else value
        if not bare or self._mask in value:
            return found[0]
        if group == "v":
            weight = self._redactor.weight(found["k"].strip("-"))
            if not weight or not self._redactor.is_secret(value, weight):
                return found[0]
        elif group == "p":
            if not self._redactor.weight(found["k"]) or not is_generated(value):
                return found[0]
        elif bare.isdigit() or is_plain(bare):
            return found[0]
        self._redactor.remember(bare)
        start = found.start(group) - found.start()
        quote = value[0] if value[0] in "\"'" else ""
        return f"{found[0][:start]}{quote}{self._mask}{found[0][start + len(value) :]}"

    def _user(self, found: "re.Match[str]") -> str:
        _, colon, secret = found[2].partition(":")
        if (not colon and not looks_random(found[2])) or (colon and is_plain(secret) and not secret.isalnum()):
            return found[0]
        self._redactor.remember(secret)
        return f"{found[1]}{self._mask}@"

    def _header(self, found: "re.Match[str]") -> str:
        value = found[0][found.end(2) - found.start() :].strip()
        words = value.split()
        is_cookie = "cookie" in found[1].lower()
        if is_cookie and "=" not in value and is_weakly_plain(value):
            return found[0]
        if not is_cookie and is_weakly_plain(value) and not (len(words) == 2 and self._is_credential(words)):
            return found[0]
        return f"{found[1]}{found[2]}{self._mask}"

    @staticmethod
    def _is_credential(words: list[str]) -> bool:
        return words[0].lower() in _SCHEMES and not is_weakly_plain(words[1])

    def _bearer(self, found: "re.Match[str]") -> str:
        word = found[2].rstrip(".")
        if is_generated(word) or is_basic(word) or word.endswith("=") or len(word) >= 24:
            return f"{found[1]} {self._mask}"
        return found[0]

    def _kubernetes(self, found: "re.Match[str]") -> str:
        lines_out = []
        for given in found[3].split("\n"):
            line = given
            key, colon, value = line.partition(":")
            has_value = bool(colon) and bool(value.strip()) and not value.strip().startswith(_REFERENCES)
            is_member = bool(colon) and " " not in key.strip()
            if is_member and has_value:
                line = f"{key}: {self._mask}"
            elif line.strip() and not is_member:  # a further line of the value before
                line = f"{line[: len(line) - len(line.lstrip())]}{self._mask}"
            lines_out.append(line)
        return found[1] + found[2] + "\n".join(lines_out)

    def _json(self, text: str) -> str:
        """Redact by key inside a text that is JSON; return the same text when nothing is masked."""
        try:
            value = json.loads(text)
            clean: Any = self._redactor.value(value)
            return text if clean is value else json.dumps(clean)
        except (ValueError, RecursionError):
            return text
