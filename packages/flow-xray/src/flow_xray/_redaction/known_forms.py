"""The forms of known kinds of secret: tokens with a mark of their vendor, private keys, URLs."""

import re
from functools import cache
from typing import TYPE_CHECKING, Final

from flow_xray._redaction.plain_values import is_generated

if TYPE_CHECKING:
    from collections.abc import Callable

_MARKS: Final = (
    *("eyJ", "sk-", "sk_", "rk_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat", "xox", "xapp-", "AKIA", "ASIA"),
    *("AIza", "hf_", "npm_", "pypi-", "SG.", "GOCSPX", "ya29", "whsec", "hvs.", "dapi", "gsk_", "hooks.", ":AA"),
    *("-----", "\\u00", "webhook", "key-", "$apr1$", "$2", "$5$", "$6$", "$y$", "$argon"),
)
_MIN_TOKEN: Final = 22  # a token whose mark is too short or too common to search for is longer
_PEM_END: Final = "-----END "


def has_mark(text: str) -> bool:
    """Return whether a text contains the beginning of a secret of a known form."""
    for mark in _MARKS:
        if mark in text:
            return True
    return len(text) >= _MIN_TOKEN and _long_word().search(text) is not None


@cache
def _long_word() -> "re.Pattern[str]":
    return re.compile(rf"[\w~.-]{{{_MIN_TOKEN}}}")


@cache
def shapes() -> "re.Pattern[str]":
    """Match secrets of a known form."""
    return re.compile(
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----[\s\S]*?"
        r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)"
        r"|hooks\.(?:slack|zapier)\.com/[\w-]+/[\w/-]+|(?<!\d)\d{8,10}:AA[\w-]{30,}"
        r"|(?<![\w~.-])[\w.-]{3}\dQ~[\w~.-]{31,34}|\$(?:apr1|2[abxy]|5|6|y|argon2[id]{1,2})\$[^\s:\"']{8,}"
        r"|(?<![A-Za-z0-9])(?:"
        r"ey[JI][\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*){0,3}|[rs]k_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[\w+/=-]{16,}"
        r"|(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|npm_[A-Za-z0-9]{30,}|pypi-[\w-]{30,})"
        r"|gl(?:pat|dt|rt|ptt|cbt|soat|ft|imt|agent|oas|ffct)-[\w.-]{16,}"
        r"|(?:xox[abeoprs](?:\.xox[bp])?-[\w-]{10,}|xapp-[\w-]{10,}|xoxe-[\w-]{10,})"
        r"|discord(?:app)?\.com/api/webhooks/\d+/[\w-]{30,}|webhook\.office\.com/webhookb2/[\w@/.-]+"
        r"|[MNO][\w-]{22,27}\.[\w-]{6}\.[\w-]{25,}|(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])"
        r"|ABSK[A-Za-z0-9+/=]{40,}|amzn\.mws\.[0-9a-f-]{30,}|AIza[\w-]{30,}|ya29\.[\w-]{20,}|GOCSPX-[\w-]{20,}"
        r"|1//0[\w-]{30,}|hf_[A-Za-z0-9]{20,}|r8_[A-Za-z0-9]{30,}|gsk_[A-Za-z0-9]{20,}|xai-[A-Za-z0-9]{40,}"
        r"|pplx-[A-Za-z0-9]{30,}|pcsk_\w{30,}|lsv2_[ps][tk]_[\w]{30,}|tfp_[A-Za-z0-9]{30,}"
        r"|SG\.[\w-]{16,}\.[\w-]{16,}|do[opr]_v1_[a-f0-9]{40,}|shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32}"
        r"|hv[sbr]\.[\w-]{20,}|dapi[a-f0-9]{32}(?![A-Za-z0-9])|lin_(?:api|oauth)_[A-Za-z0-9]{20,}"
        r"|SK[0-9a-f]{32}(?![A-Za-z0-9])"
        r"|key-[0-9a-f]{32}(?![A-Za-z0-9])|[0-9a-f]{32}-us\d{1,2}(?![A-Za-z0-9])"
        r"|rubygems_[0-9a-f]{40,}|dckr_[po]at_[\w-]{20,}"
        r"|cio[A-Za-z0-9]{32}(?![A-Za-z0-9])|oy2[a-z0-9]{43}(?![A-Za-z0-9])|[A-Za-z0-9]{14}\.atlasv1\.[\w-]{40,}"
        r"|glsa_\w{32}_[0-9A-Fa-f]{8}|glc_[A-Za-z0-9+/=]{32,}|NR(?:AK|II|AA|RA)-[\w-]{20,}"
        r"|sntry[su]_[\w+/=]{40,}|ATATT3[\w=-]{30,}|ATBB[\w=-]{24,}|ntn_[A-Za-z0-9]{40,}"
        r"|secret_[A-Za-z0-9]{40,}|fig[dou]_?[\w-]{36,}|pat[A-Za-z0-9]{14}\.[0-9a-f]{64}"
        r"|pat-[a-z]{2}\d-[0-9a-f-]{36}|sq0(?:atp|csp|idp)-[\w-]{22,}|EAAA[\w-]{56,}|EAA[A-Za-z0-9]{60,}"
        r"|PMAK-[0-9a-f]{24}-[0-9a-f]{34}|LTAI[A-Za-z0-9]{16,24}(?![A-Za-z0-9])|pscale_(?:pw|tkn|oauth)_[\w.-]{30,}"
        r"|AGE-SECRET-KEY-1[A-Z0-9]{50,}|sbp_[0-9a-f]{40}|sb_secret_[\w-]{20,}|fm2_[\w+/=]{40,}"
        r"|nfp_[A-Za-z0-9]{36,}|CFPAT-[\w-]{40,}|HRKU-[\w-]{36,}|dp\.(?:pt|st|ct|sa)\.[\w.-]{40,}"
        r"|ops_eyJ[\w-]{40,}|sl\.[\w-]{100,}|CCIPAT_[\w]{20,}|pul-[0-9a-f]{40}|rnd_[A-Za-z0-9]{28,}"
        r"|AQVN[\w-]{35,}|PuTTY-User-Key-File-\d[\s\S]*?(?:Private-MAC:[^\n]*|\Z)"
        r")"
    )


@cache
def _openai() -> "re.Pattern[str]":
    return re.compile(r"(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{16,}")


def mask_forms(text: str, mask: str) -> str:
    """Return a text with the secrets of known forms masked."""
    text = shapes().sub(mask, text)
    if "sk-" in text:  # also the beginning of names: sk-estimator-doc-link
        text = _openai().sub(_masked_key(mask), text)
    return without_pem_end(text, mask)


def _masked_key(mask: str) -> "Callable[[re.Match[str]], str]":
    return lambda found: mask if is_generated(found[0]) else found[0]


@cache
def _not_base64() -> "re.Pattern[str]":
    return re.compile(r"[^A-Za-z0-9+/=\s\\]")


def without_pem_end(text: str, mask: str) -> str:
    """Mask the rest of a private key whose beginning is missing."""
    at = text.find(_PEM_END)
    if at < 0:
        return text
    parts: list[str] = []
    done = floor = 0
    while at >= 0:
        if "PRIVATE KEY" in text[at : at + 60]:
            head = text[max(floor, at - 20_000) : at]
            start = 0
            for odd in _not_base64().finditer(head):
                start = odd.end()
            begin = at - len(head) + start
            if begin < at:
                parts += [text[done:begin], mask]
                done = at
        floor = at + len(_PEM_END)
        at = text.find(_PEM_END, floor)
    return "".join([*parts, text[done:]])
