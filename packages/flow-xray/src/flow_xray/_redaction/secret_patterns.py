"""Patterns of secrets: the keys that name one, and the forms of known kinds of secret.

A key is classified by its words (`xApiKey`, `X-API-KEY` and `x_api_key` have the same three), so
the result is the same for a member of an object, a header, a query parameter and `key=value` inside
a text.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, Literal, TypeAlias

from flow_xray._redaction.known_forms import has_mark

Weight: TypeAlias = Literal[0, 1, 2, 3]
"""The key names no secret; often names none (`token`, `auth`); names one; is a key of the
user's.
"""

_WEAK: Final = frozenset(
    {
        *("auth", "authorization", "bearer", "cookie", "cookies", "jwt", "passwd", "pwd", "setcookie", "pass", "pw"),
        *("token", "credential", "credentials", "creds", "otp", "totp", "secrets", "passwords"),
    }
)
_STRONG: Final = frozenset(
    {
        *("connectsid", "phpsessid", "jsessionid", "sessioncookie", "authheader", "proxyauthorization"),
        *("sharedaccesssignature", "xamzsignature", "xamzcredential", "xamzsecuritytoken", "requirepass", "masterauth"),
        *("psk", "privatekeyid", "passin", "passout", "sessionsecret", "pgpassword"),
    }
)
_ANYWHERE_IN_KEY: Final = ("password", "passphrase", "passcode")
_BEFORE_KEY: Final = frozenset(
    {
        *("api", "access", "secret", "private", "signing", "encryption", "ssh", "deploy", "master", "subscription"),
        *("license", "auth", "account", "session", "service", "hmac", "aes", "rsa", "pgp", "gpg", "app", "function"),
        *("application", "shared", "storage", "webhook", "host"),
    }
)
_GLUED_KEYS: Final = tuple(
    f"{word}key{plural}" for word in sorted(_BEFORE_KEY - {"app", "rsa", "aes", "host"}) for plural in ("", "s", "data")
)
_AFTER_SECRET: Final = frozenset(
    {"secret", "secrets", "key", "keys", "value", "values", "access", "token", "base", "text", "string", "id", "data"}
)
_BEFORE_TOKENS: Final = ("auth", "access", "refresh", "id", "bearer", "session", "api", "bot", "user")
_NO_SECRET_TOKEN: Final = frozenset(
    {
        *("eos", "bos", "pad", "unk", "sep", "cls", "mask", "stop", "per", "first", "last", "max", "min", "special"),
        *("next", "page", "continuation", "previous", "prev", "current", "expected", "unexpected", "cancellation"),
        *("start", "end", "begin", "input", "output", "prompt", "total"),
    }
)
_FACTS: Final = frozenset(
    {
        *("name", "names", "count", "length", "policy", "field", "type", "version", "arn", "expiry", "file", "path"),
        *("url", "uri", "store", "manager", "provider", "class", "required", "enabled", "reset", "changed", "at", "in"),
        *(
            "expires",
            "expired",
            "age",
            "min",
            "max",
            "helper",
            "rotation",
            "strength",
            "prompt",
            "hint",
            "label",
            "page",
        ),
        *(
            "form",
            "error",
            "errors",
            "missing",
            "invalid",
            "valid",
            "ttl",
            "lifetime",
            "days",
            "ref",
            "format",
            "regex",
        ),
        *("txt", "py", "md", "js", "ts", "go", "rs", "java", "json", "yaml", "yml", "toml", "sh", "html", "css", "log"),
    }
)
_STEMS: Final = (
    *("key", "pass", "pwd", "secret", "token", "auth", "cookie", "bearer", "creds", "credential", "sig=", "signature"),
    *("sessid", "otp", "jwt", "basic ", "identified", "psk", "-u", "--user", "mysql", "mariadb", "login", "redis-cli"),
)
_QUERY_KEYS: Final = ("key", "sig", "signature", "auth", "pass", "x-amz-signature", "x-amz-credential", "credential")
_KIND_SECRET: Final = "Secret"  # noqa: S105  the kind of a Kubernetes object


def weight_of(key: str) -> Weight:
    """Return how surely a key names a secret."""
    words = [word.lower() for word in words_of_key().findall(key)]
    while words and words[-1].isdigit():  # password1, api_key_2
        words.pop()
    if not words:
        return 0
    plain, last = "".join(words), words[-1]
    if plain in _WEAK:
        return 1
    if plain in _STRONG:
        return 2
    if last in _FACTS and len(words) > 1:
        return 0
    if last in ("auth", "cookie", "authorization", "credentials"):
        return 1
    if last in ("pass", "pwd", "passwd", "psk") or any(stem in plain for stem in _ANYWHERE_IN_KEY):
        return 2
    if plain.endswith(("secret", "secrets")) or (
        "secret" in words and _AFTER_SECRET.issuperset(_after(words, "secret"))
    ):
        return 2
    before = words[-2] if len(words) > 1 else ""
    if plain.endswith("token"):
        return 0 if before in _NO_SECRET_TOKEN else 2
    if last == "tokens" and before in _BEFORE_TOKENS:
        return 2
    is_key = (last in ("key", "keys") and before in _BEFORE_KEY) or words[-2:] == ["key", "data"]
    return 2 if is_key or plain.endswith(_GLUED_KEYS) else 0


def _after(words: list[str], word: str) -> list[str]:
    return words[words.index(word) :]


def may_hold_secret(text: str, own: "tuple[str, ...]" = ()) -> bool:
    """Return whether one of the slower patterns could match; searching for words is much faster.

    Args:
        text: Any text.
        own: The user's keys, in lower case.
    """
    low = text.lower()
    for stem in _STEMS:
        if stem in low:
            return True
    for stem in own:
        if stem in low:
            return True
    if ("://" in low and "@" in low) or text.count(":") >= 4:
        return True
    return has_mark(text)


# Every pattern is compiled at its first use: `import flow_xray` is much faster without.


@cache
def words_of_key() -> "re.Pattern[str]":
    """Match the words of a key, in camel case, snake case and others."""
    return re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


@cache
def headers() -> "re.Pattern[str]":
    """Match a header with a secret, up to the end of its line."""
    return re.compile(
        r"""\b((?:proxy-)?authorization|(?:set-)?cookie)(\\*["']?\s*:\s*\\*["']?)[^\r\n"'\\]+""", re.IGNORECASE
    )


@cache
def bearers() -> "re.Pattern[str]":
    """Match the name of an authorization scheme and the credentials after it."""
    return re.compile(r"\b(bearer|basic)\s+([A-Za-z0-9._~+/=-]{8,})", re.IGNORECASE)


@cache
def users() -> "re.Pattern[str]":
    """Match scheme and user part of a URL, up to the last `@` of the authority."""
    return re.compile(
        r"""([a-zA-Z][a-zA-Z0-9+.-]{1,20}://)([^/\s:@?#"']{0,200}:(?!\d{1,5}(?:[/?#\s]|$))[^\s"'<>@]{1,300}"""
        r"""(?:@[^\s"'<>/?#@]{0,300}(?=@))*|[^/\s:@?#"']{12,300})@"""
    )


@cache
def keys_in_text() -> "re.Pattern[str]":
    """Match a key in a text and the separator before its value.

    A key has at most 80 characters and never begins inside a word, so no text takes quadratic time.
    """
    return re.compile(
        r"""(?<![\w.$-])(?P<key>(?:(?i:api|access|secret|private|auth)\s)?[\w.$-]{1,80})"""
        r"""(?P<between>\\*["']?(?:\s*(?:=>|:=|==?|:)\s*|%3[Dd]))"""
    )


@cache
def value_in_text() -> "re.Pattern[str]":
    """Match a value from its beginning to its end."""
    return re.compile(
        r"""(?P<triple>\"{3}|'{3})[\s\S]*?(?:(?P=triple)|\Z)"""
        r"""|[bBrRuUfF]{0,2}(?P<quote>\\*["'])(?:(?!(?P=quote))(?:\\.|[^\\]))*"""
        r"""|[|>][+-]?[ \t]*(?:\r?\n[ \t]+[^\n]*)+"""
        r"""|[A-Za-z_][\w.]{0,40}\[[\w\s+*-]{1,40}\]|[\w.]{0,40}\([^()\n]{0,2000}\)?|\[(?!redacted\])[^\]\n]{0,2000}\]?|\{[^{}\n]{0,2000}\}?"""
        r"""|(?:[^\s"'&,;)}\]%\[]|%(?!26)|[&,;)}\]](?=[\w!@#$^*])(?![\w.-]{1,40}\\*["']?[=:]))+"""
    )


@cache
def lines() -> "re.Pattern[str]":
    """Match a line `key: several words`."""
    return re.compile(r"""^(?P<key>[ \t]*(?:- )?[\w.-]{1,80}):[ \t]+(?P<value>[^\s"'\[{|>][^\r\n"']*)$""", re.MULTILINE)


@cache
def forms() -> "tuple[tuple[tuple[str, ...], re.Pattern[str]], ...]":
    """Return the forms in which a text names a secret, each with words of which it needs one.

    Pairs, named values, XML, options, commands, lines of known files. The last group of a form is
    the value: `v` under the key `k`, `p` the same in prose, `s` a secret by its position.
    """
    word = r"[\w.:-]{1,80}"
    quoted = r"""b?\\*["'](?P<v>[^"'\\]*)"""
    argument = r"""(?P<{0}>'[^'\n]*|"[^"\n]*|[^\s'"]+)"""
    line = r"[^\n|;&]{0,120}?\s"
    found = (
        (("(", "["), rf"""[(\[]\s*b?\\*["'](?P<k>{word})\\*["']\s*,\s*{quoted}"""),
        (
            ("value",),
            rf"""\b(?:name|key|header)\\*["']?\s*[:=]\s*\\*["'](?P<k>{word})\\*["'][^<>\n{{}}]{{0,80}}?\bvalue\\*["']?\s*[:=]\s*{quoted}""",
        ),
        (("value:",), rf"""\bname:\s*["']?(?P<k>{word})["']?[ \t]*\r?\n\s*value:\s*(?P<v>[^\r\n]+)"""),
        (("</",), rf"""<(?P<k>{word})(?:\s[^<>]{{0,200}})?>(?P<v>[^<>]+)(?=</)"""),
        (('name="',), rf"""\bname="(?P<k>{word})"[^\n]{{0,80}}\r?\n\r?\n(?P<v>[^\r\n]+)"""),
        (
            ("env ", "arg ", "set"),
            rf"""\b(?:ENV|ARG|setx|setenv|set\s-\w{{1,4}})\s+(?P<k>{word})\s+{argument.format("v")}""",
        ),
        (
            ("variable",),
            rf"""\bvariable\s+"(?P<k>{word})"\s*\{{[^{{}}]{{0,300}}?\bdefault\s*=\s*"(?P<v>[^"\n]*)""",
        ),
        (
            ("sshpass", "login"),
            rf"""\b(?:sshpass|(?:docker|podman|registry|oc|az)\s+login){line}-p\s*{argument.format("s")}""",
        ),
        (("mysql", "mariadb"), rf"""\b(?:mysql\w{{0,20}}|mariadb[\w-]{{0,20}}){line}-p{argument.format("s")}"""),
        (("redis-cli",), rf"""\bredis-cli{line}-a\s+{argument.format("s")}"""),
        (("login", "user", "account"), r"""\b(?:login|user|account)\s+\S{1,80}\s+password\s+(?P<s>\S+)"""),
        ((":",), r"""(?m:^)[\w.*-]{1,80}:(?:\d{4,5}|\*):[\w.*-]{1,80}:[\w.*-]{1,80}:(?P<s>[^\s:][^\s]*)"""),
        (("'",), r"""\b(?:identified\s+by|password)\s+(?:encrypted\s+)?'(?P<s>[^'\n]+)"""),
        (("requirepass", "masterauth"), r"""\b(?:requirepass|masterauth)\s+(?P<s>[^\s"']+)"""),
        (
            ("-u", "--user"),
            rf"""(?<![\w-])(?:-u|--user)[\s=]+["']?[^\s:"'-][^\s:"']{{0,80}}:{argument.format("s")}""",
        ),
        (("-",), rf"""(?<![\w-])(?P<k>--?{word})\s+["']?(?P<v>[^\s"'-][^\s"']*)"""),
        (("?", "&"), rf"""[?&](?P<q>{"|".join(_QUERY_KEYS)})=(?P<s>[^&\s"'#<>]{{8,}})"""),
        ((" is ", " was "), rf"""(?<![\w.-])(?P<k>{word})\s(?:is|was)\s(?P<p>[^\s"',;]{{8,}})"""),
    )
    return tuple((needed, re.compile(pattern, re.IGNORECASE)) for needed, pattern in found)


@cache
def kubernetes_secrets() -> "re.Pattern[str]":
    """Match the data of a Kubernetes Secret in YAML: what is below `data:` or `stringData:`."""
    return re.compile(r"^([ \t]*)((?:string)?[dD]ata:[ \t]*\r?\n)((?:\1[ \t]+[^\n]*(?:\n|\Z))+)", re.MULTILINE)


@cache
def kind_secret() -> "re.Pattern[str]":
    """Match the kind of a Kubernetes Secret in YAML."""
    return re.compile(r"""^[ \t-]*kind:[ \t]*["']?Secret\b""", re.MULTILINE)


def secret_data(members: Mapping[Any, object]) -> "tuple[str, ...]":
    """Return the members of a Kubernetes Secret that hold its values; none for another object."""
    return ("data", "stringData") if members.get("kind") == _KIND_SECRET else ()


def own_keys_in_text(keys: "set[str]") -> "re.Pattern[str]":
    """Match one of the user's keys in a text, its separator, a quote, and the whole value."""
    names = "|".join(re.escape(key) for key in sorted(keys, key=len, reverse=True))
    return re.compile(
        rf"""(?<![\w.-])((?:{names})\\*["']?\s*[:=]\s*)(\\*["'])?(?!\\*["']?\[redacted\])"""
        r"""(?(2)(?:(?!\2)(?:\\.|[^\\]))*|[^\s"'&,;)}\]]+)""",
        re.IGNORECASE,
    )
