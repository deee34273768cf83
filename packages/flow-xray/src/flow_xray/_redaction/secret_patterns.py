"""Patterns of secrets: the keys that name one, and the forms of known kinds of secret.

A key is classified by its words (`xApiKey`, `X-API-KEY` and `x_api_key` have the same three), so
the result is the same for a member of an object, a header, a query parameter and `key=value` inside
a text.
"""

import re
from functools import cache
from typing import Final, Literal, TypeAlias

Weight: TypeAlias = Literal[0, 1, 2, 3]
"""Masking under a key: 0 nothing, 1 texts, 2 all but None and booleans, 3 everything."""

_HIDING: Final = frozenset(
    {
        *("auth", "authorization", "bearer", "cookie", "cookies", "jwt", "passphrase", "passwd", "pwd", "setcookie"),
        *("token", "credential", "credentials", "creds", "otp", "totp", "connectsid", "phpsessid", "jsessionid"),
        *("passwords", "secrets", "sessioncookie", "authheader", "proxyauthorization", "sharedaccesssignature"),
        *("xamzsignature", "xamzcredential"),
    }
)
_TEXT_ONLY: Final = frozenset({"pass"})
_ANYWHERE_IN_KEY: Final = ("password", "passwd", "passphrase", "passcode")
_BEFORE_KEY: Final = frozenset(
    {
        *("api", "access", "secret", "private", "signing", "encryption", "ssh", "deploy", "master", "subscription"),
        *("license", "auth", "account", "session", "service", "hmac", "aes", "rsa", "pgp", "gpg", "app", "function"),
    }
)
_GLUED_KEYS: Final = tuple(
    f"{word}key{plural}" for word in sorted(_BEFORE_KEY - {"app", "rsa", "aes"}) for plural in ("", "s")
)
_BEFORE_TOKENS: Final = ("auth", "access", "refresh", "id", "bearer", "session", "api", "bot", "user")
_NO_SECRET_TOKEN: Final = frozenset(
    {*("eos", "bos", "pad", "unk", "sep", "cls", "mask", "stop", "per", "first", "last", "max", "min", "special")}
)
_FACTS: Final = frozenset({"name", "names", "count", "length", "policy", "field", "type", "version", "arn", "expiry"})
_STEMS: Final = (
    *("key", "pass", "pwd", "secret", "token", "auth", "cookie", "bearer", "creds", "credential", "sig=", "signature"),
    *("sessid", "otp", "jwt"),
)
_MARKS: Final = (
    *(
        "eyJ",
        "sk-",
        "sk_",
        "rk_",
        "ghp_",
        "gho_",
        "ghu_",
        "ghs_",
        "ghr_",
        "github_pat",
        "glpat-",
        "xox",
        "xapp-",
        "AKIA",
    ),
    *("ASIA", "AIza", "hf_", "npm_", "pypi-", "SG.", "GOCSPX", "ya29", "whsec", "dop_v1", "doo_v1", "shpat_", "shpca_"),
    *("shppa_", "shpss_", "hvs.", "dapi", "gsk_", "lin_api", "hooks.slack", ":AA", "-----", "-u ", "\\u00"),
)
_PEM_END: Final = "-----END "
_QUERY_KEYS: Final = ("key", "sig", "signature", "auth", "pass", "x-amz-signature", "x-amz-credential", "credential")


def weight_of(key: str) -> Weight:
    """Return how much of the value under a key must be masked."""
    words = [word.lower() for word in words_of_key().findall(key)]
    while words and words[-1].isdigit():  # password1, api_key_2
        words.pop()
    if not words:
        return 0
    plain, last = "".join(words), words[-1]
    if plain in _TEXT_ONLY or (last == "pass" and len(words) > 1):
        return 1
    if plain in _HIDING or last in ("auth", "cookie", "authorization", "credentials"):
        return 2
    is_fact = last in _FACTS and len(words) > 1
    if not is_fact and (
        any(stem in plain for stem in _ANYWHERE_IN_KEY)
        or "secret" in words
        or plain.endswith(("secret", "secrets"))
        or last == "pwd"
    ):
        return 2
    before = words[-2] if len(words) > 1 else ""
    if plain.endswith("token"):
        return 0 if before in _NO_SECRET_TOKEN else 2
    if last == "tokens" and before in _BEFORE_TOKENS:
        return 2
    return 2 if (last in ("key", "keys") and before in _BEFORE_KEY) or plain.endswith(_GLUED_KEYS) else 0


def looks_random(text: str) -> bool:
    """Return whether a word was more likely generated than written by a person."""
    return (
        len(text) >= 8
        and any(char.isdigit() for char in text)
        and any(char.isalpha() for char in text)
        and not any(char.isspace() for char in text)
    )


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
    if "://" in low and "@" in low:
        return True
    return has_mark(text)


def has_mark(text: str) -> bool:
    """Return whether a text contains the beginning of a secret of a known form."""
    for mark in _MARKS:  # noqa: SIM110  a generator costs three times as much here
        if mark in text:
            return True
    return False


# Every pattern is compiled at its first use: `import flow_xray` is much faster without.


@cache
def words_of_key() -> "re.Pattern[str]":
    """Match the words of a key, in camel case, snake case and others."""
    return re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


@cache
def not_base64() -> "re.Pattern[str]":
    """Match a character that is not part of the body of a PEM block."""
    return re.compile(r"[^A-Za-z0-9+/=\s\\]")


@cache
def shapes() -> "re.Pattern[str]":
    """Match secrets of a known form."""
    return re.compile(
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r"[\s\S]*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)"
        r"|\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"
        r"|\bsk-[A-Za-z0-9_-]{16,}|\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}|\bwhsec_[\w+/=-]{16,}"
        r"|\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|npm_[A-Za-z0-9]{30,}|pypi-[\w-]{30,})"
        r"|\b(?:xox[abeoprs](?:\.xox[bp])?-[\w-]{10,}|xapp-[\w-]{10,}|xoxe-[\w-]{10,})"
        r"|hooks\.slack\.com/(?:services|workflows)/[\w/-]+"
        r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bAIza[\w-]{30,}|\bya29\.[\w-]{20,}|\bGOCSPX-[\w-]{20,}|\bhf_[A-Za-z0-9]{20,}"
        r"|\bSG\.[\w-]{16,}\.[\w-]{16,}|\bdo[op]_v1_[a-f0-9]{40,}|\bshp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32}"
        r"|\bhvs\.[\w-]{20,}|\bdapi[a-f0-9]{32}\b|\bgsk_[A-Za-z0-9]{20,}|\blin_api_[A-Za-z0-9]{20,}"
        r"|\b\d{8,10}:AA[\w-]{30,}"
    )


@cache
def headers() -> "re.Pattern[str]":
    """Match a header with a secret, up to the end of its line."""
    return re.compile(
        r"""\b((?:proxy-)?authorization|(?:set-)?cookie)(\\*["']?\s*:\s*\\*["']?)[^\r\n"'\\]+""", re.IGNORECASE
    )


@cache
def bearers() -> "re.Pattern[str]":
    """Match the name of an authorization scheme and the credentials after it."""
    return re.compile(r"\b(bearer|basic)\s+(?=[A-Za-z0-9._~+/=-]*[\d=])([A-Za-z0-9._~+/=-]{8,})", re.IGNORECASE)


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
        r"""|[\w.]{0,40}\([^()\n]{0,2000}\)?|\[(?!redacted\])[^\]\n]{0,2000}\]?|\{[^{}\n]{0,2000}\}?"""
        r"""|(?:[^\s"'&,;)}\]%\[]|%(?!26)|[&,;)}\]](?=[\w!@#$^*])(?![\w.-]{1,40}\\*["']?[=:]))+"""
    )


@cache
def lines() -> "re.Pattern[str]":
    """Match a line `key: several words`."""
    return re.compile(r"""^(?P<key>[ \t]*(?:- )?[\w.-]{1,80}):[ \t]+(?P<value>[^\s"'\[{|>][^\r\n"']*)$""", re.MULTILINE)


@cache
def others() -> "re.Pattern[str]":
    """Match a key and its value as a pair, name and value, XML, form, option, query or prose."""
    word = r"[\w.:-]{1,80}"
    quoted = r"""b?(\\*["'])(?P<{0}>[^"'\\]*)"""
    return re.compile(
        rf"""[(\[]\s*b?\\*["'](?P<k1>{word})\\*["']\s*,\s*{quoted.format("v1")}"""
        rf"""|\b(?:name|key|header)\\*["']?\s*[:=]\s*\\*["'](?P<k2>{word})\\*["'][^<>\n{{}}]{{0,80}}?\bvalue\\*["']?\s*[:=]\s*{quoted.format("v2")}"""
        rf"""|<(?P<k3>{word})(?:\s[^<>]{{0,200}})?>(?P<v3>[^<>]+)(?=</)"""
        rf"""|\bname="(?P<k4>{word})"[^\n]{{0,80}}\r?\n\r?\n(?P<v4>[^\r\n]+)"""
        r"""|(?<![\w-])-u\s+(?P<q2>[^\s:]+):(?P<v8>[^\s"']+)"""
        rf"""|(?<![\w-])(?P<k5>--?{word})\s+(?P<v5>[^\s"'-][^\s"']*)"""
        rf"""|[?&](?P<q>{"|".join(_QUERY_KEYS)})=(?P<v6>[^&\s"'#<>]{{8,}})"""
        rf"""|(?<![\w.-])(?P<k7>{word})\s(?:is|was)\s(?P<v7>[^\s"',;]{{8,}})""",
        re.IGNORECASE,
    )


def own_keys_in_text(keys: "set[str]") -> "re.Pattern[str]":
    """Match one of the user's keys in a text, its separator, a quote, and the whole value."""
    names = "|".join(re.escape(key) for key in sorted(keys, key=len, reverse=True))
    return re.compile(
        rf"""(?<![\w.-])((?:{names})\\*["']?\s*[:=]\s*)(\\*["'])?(?!\\*["']?\[redacted\])"""
        r"""(?(2)(?:(?!\2)(?:\\.|[^\\]))*|[^\s"'&,;)}\]]+)""",
        re.IGNORECASE,
    )


def without_pem_end(text: str, mask: str) -> str:
    """Mask the rest of a private key whose beginning is missing."""
    at, done = text.find(_PEM_END), 0
    while at >= 0:
        if "PRIVATE KEY" in text[at : at + 60]:
            head = text[max(done, at - 20_000) : at]
            start = 0
            for odd in not_base64().finditer(head):
                start = odd.end()
            begin = at - len(head) + start
            text = text[:begin] + mask + text[at:]
            at = begin + len(mask)
            done = at + 1
        at = text.find(_PEM_END, at + 1)
    return text
