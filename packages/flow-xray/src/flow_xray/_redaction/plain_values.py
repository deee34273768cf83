"""Tell secrets from ordinary values: generated words, plain words, references, paths, prose.

A key alone does not decide: `token: 12`, `auth: required`, `password: ${DB_PASSWORD}` and
`password: str` say nothing secret, and a trace in which they are masked is hard to read.
"""

import base64
import binascii
import re
from functools import cache
from typing import Final

_TEXT_PLAIN_WORDS: Final = """
none null nil true false yes no on off str string bytes int integer bool boolean any object
optional required text type enabled disabled enable disable inherit include omit same-origin
default auto basic bearer digest oauth oauth2 oidc saml negotiate ntlm apikey jwt session cookie
token password secret key credentials missing invalid valid expired empty unset set hidden
redacted masked removed changed reset rotated accepted denied refused rejected granted failed
failure ok success wrong incorrect unknown unused provided supplied given needed ignored present
absent found prompt prompted input field value name user username files sss systemd compat ldap
osxkeychain store cache file env environment public private read write admin self anonymous
guest undefined nan strict lax eof eos bos pad punc error warning info http https header query
body form
"""
PLAIN_WORDS: Final = frozenset(_TEXT_PLAIN_WORDS.split())
_TEXT_FUNCTION_WORDS: Final = """
a an the is are was were be been must should can could may might will would has have had not no
of for to in on at by with from and or if then than that this these it its your our their you we
they please as when where which who what how only least most more less than all any each every
into out up down line lines file files error errors version characters bytes kb mb ms byte
"""
_FUNCTION_WORDS: Final = frozenset(_TEXT_FUNCTION_WORDS.split())
_PATH: Final = re.compile(
    r"(?:~|\.{1,2}|[A-Za-z]:)?[/\\][\w.@+~-]*(?:[/\\][\w.@+~-]+)*[/\\]?|(?:[\w.@-]+/){2,}[\w.@-]+"
)
_DATE_OR_NUMBER: Final = re.compile(
    r"[\d:.,TZ+/-]*\d(?:[a-zA-Zµ%]{1,3})?|\d+(?:\.\d+)+\w{0,6}|v\d+(?:\.\d+)*(?:-[a-z]{1,6}\.?\d{0,3})?"
)
_REFERENCE: Final = re.compile(
    r"""\$\{[^}]*\}?|\$\([^)]*\)?|\$[A-Za-z_]\w*|%[A-Za-z_]\w*%|\{\{.*|\{[A-Za-z_.]*\}|<[^<>]*>?|%[sdr]|%\([\w.]+\)s?"""
    r"""|[*•.xX#_-]{3,}|\[[\w. -]*\]|!\w+.*"""
    r"""|(?:process\.env|os\.environ|os\.getenv|env|secrets|vars?|local|data|self|cls|config|settings)[.\[(].*"""
)
_IDENTIFIER: Final = re.compile(r"(?:[a-z]+|[A-Z]+|[A-Z][a-z]+)(?:[_.](?:[A-Za-z]+|\d{1,2}))+")
_MANY_DIGITS: Final = 4
_WORDS: Final = re.compile(r"[A-Za-z0-9]+")


def looks_random(text: str) -> bool:
    """Return whether a word was more likely generated than written by a person.

    A path, a date, a number with a unit and an identifier of code are not.
    """
    return (
        len(text) >= 8
        and any(char.isdigit() for char in text)
        and any(char.isalpha() for char in text)
        and not any(char.isspace() for char in text)
        and not is_path(text)
        and not _DATE_OR_NUMBER.fullmatch(text)
        and not _IDENTIFIER.fullmatch(text)
    )


def is_generated(text: str) -> bool:
    """Return whether a word is random even without a key that names a secret.

    One of its runs of letters and digits mixes them, or is long; or it has many digits between
    letters.
    """
    if len(text) < 8 or is_path(text) or _DATE_OR_NUMBER.fullmatch(text) or _IDENTIFIER.fullmatch(text):
        return False
    for word in _WORDS.findall(text):
        if len(word) >= 20:
            return True
        if len(word) >= 6 and changes_of_class(word) >= 2:
            return True
    return sum(map(str.isdigit, text)) >= _MANY_DIGITS and changes_of_class("".join(_WORDS.findall(text)).lower()) >= 2


def changes_of_class(word: str) -> int:
    """Return how often letters and digits, or upper and lower case inside a word, take turns."""
    turns, last = 0, ""
    for char in word:
        kind = "digit" if char.isdigit() else "upper" if char.isupper() else "lower"
        if last and kind != last and not (last == "upper" and kind == "lower"):
            turns += 1
        last = kind
    return turns


def is_path(text: str) -> bool:
    """Return whether a text is a path without a generated part."""
    if len(text) > 300 or ("/" not in text and "\\" not in text) or not _PATH.fullmatch(text):
        return False
    return not any(
        len(part) >= 20 or changes_of_class(part) >= 4 for part in _WORDS.findall(text) if not part.isalpha()
    )


def is_reference(text: str) -> bool:
    """Return whether a value refers to a secret or stands for one: `${NAME}`, `<your key>`,
    `***`.
    """
    return _REFERENCE.fullmatch(text) is not None


def is_plain(text: str) -> bool:
    """Return whether a value under a key that names a secret is none: a constant, a path, prose."""
    bare = text.strip().strip("\"'`.,;:!?()[]{}")
    if not bare or len(bare) <= 1 or bare.lower() in PLAIN_WORDS or is_reference(text.strip()) or is_path(bare):
        return True
    if len(bare) < 4 and bare.isalnum():
        return bare.isdigit()
    if " " in bare:
        return is_prose(bare)
    return False


def is_weakly_plain(text: str) -> bool:
    """Return whether a value under a key that often names none (`token`, `auth`) is a word of a
    language.
    """
    bare = text.strip().strip("\"'`.,;:!?()[]{}<>")
    if is_plain(text):
        return True
    if is_basic(bare):
        return False
    if " " in bare:
        return not any(looks_random(word) for word in bare.split())
    if _IDENTIFIER.fullmatch(bare):
        return len(bare) < 40
    return len(bare) < 16 and not looks_random(bare)


def is_prose(text: str) -> bool:
    """Return whether several words are a sentence and no secret."""
    words = text.lower().split()
    if any(is_generated(word) for word in text.split()):
        return False
    if len(words) < 3 and not all(word.strip(".,;:()").isalnum() for word in words):
        return False
    return any(word.strip(".,;:()") in _FUNCTION_WORDS or word.strip(".,;:()") in PLAIN_WORDS for word in words)


def is_code(text: str) -> bool:
    """Return whether an unquoted value is an expression: a call or an index of names, no
    literal.
    """
    return (
        re.fullmatch(r"[A-Za-z_][\w.]*(?:[\[(][\w\s.,+*=\[\]()-]*[\])]?)?", text) is not None
        and ("." in text or "(" in text or "[" in text or "_" in text)
        and not any(is_generated(word) for word in re.split(r"[^\w]+", text) if "_" not in word)
    )


def is_basic(text: str) -> bool:
    """Return whether a text is the base64 form of `user:password`."""
    if len(text) < 8 or len(text) > 2_000 or not _base64().fullmatch(text):
        return False
    try:
        plain = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (ValueError, binascii.Error):
        return False
    return b":" in plain and plain.isascii() and plain.decode("ascii").isprintable()


@cache
def _base64() -> "re.Pattern[str]":
    return re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
