"""The forms of known kinds of secret: tokens with a mark of their vendor, private keys, URLs."""

import re
from collections.abc import Callable
from functools import cache
from typing import Final

from flow_xray._redaction.secret_values import is_generated

_MARKS: Final = (
    *("eyJ", "sk-", "sk_", "rk_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat", "xox", "xapp-", "AKIA", "ASIA"),
    *("AIza", "hf_", "npm_", "pypi-", "SG.", "GOCSPX", "ya29", "whsec", "hvs.", "dapi", "gsk_", "hooks.", ":AA"),
    *("-----", "\\u00", "webhook", "key-", "$apr1$", "$2", "$5$", "$6$", "$y$", "$argon"),
)
_MIN_TOKEN: Final = 22  # a token whose mark is too short or too common to search for is longer
_PEM_END: Final = "-----END "


def has_mark(text: str) -> bool:
    """Return whether a text contains the beginning of a secret of a known form."""
    for mark in _MARKS:  # noqa: SIM110  a generator costs three times as much here
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
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r"[\s\S]*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)"
        r"|\bey[JI][\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*){0,3}"
        r"|\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}|\bwhsec_[\w+/=-]{16,}"
        r"|\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|npm_[A-Za-z0-9]{30,}|pypi-[\w-]{30,})"
        r"|\bgl(?:pat|dt|rt|ptt|cbt|soat|ft|imt|agent|oas|ffct)-[\w.-]{16,}"
        r"|\b(?:xox[abeoprs](?:\.xox[bp])?-[\w-]{10,}|xapp-[\w-]{10,}|xoxe-[\w-]{10,})"
        r"|hooks\.(?:slack|zapier)\.com/[\w-]+/[\w/-]+"
        r"|\bdiscord(?:app)?\.com/api/webhooks/\d+/[\w-]{30,}"
        r"|\bwebhook\.office\.com/webhookb2/[\w@/.-]+"
        r"|\b[MNO][\w-]{22,27}\.[\w-]{6}\.[\w-]{25,}"
        r"|\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b|\bABSK[A-Za-z0-9+/=]{40,}|\bamzn\.mws\.[0-9a-f-]{30,}"
        r"|\bAIza[\w-]{30,}|\bya29\.[\w-]{20,}|\bGOCSPX-[\w-]{20,}|\b1//0[\w-]{30,}"
        r"|\bhf_[A-Za-z0-9]{20,}|\br8_[A-Za-z0-9]{30,}|\bgsk_[A-Za-z0-9]{20,}|\bxai-[A-Za-z0-9]{40,}"
        r"|\bpplx-[A-Za-z0-9]{30,}|\bpcsk_\w{30,}|\blsv2_[ps][tk]_[\w]{30,}|\btfp_[A-Za-z0-9]{30,}"
        r"|\bSG\.[\w-]{16,}\.[\w-]{16,}|\bdo[opr]_v1_[a-f0-9]{40,}|\bshp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32}"
        r"|\bhv[sbr]\.[\w-]{20,}|\bdapi[a-f0-9]{32}\b|\blin_(?:api|oauth)_[A-Za-z0-9]{20,}"
        r"|(?<!\d)\d{8,10}:AA[\w-]{30,}|\bSK[0-9a-f]{32}\b|\bkey-[0-9a-f]{32}\b|\b[0-9a-f]{32}-us\d{1,2}\b"
        r"|\brubygems_[0-9a-f]{40,}|\bdckr_[po]at_[\w-]{20,}|\bcio[A-Za-z0-9]{32}\b|\boy2[a-z0-9]{43}\b"
        r"|(?<![\w~.-])[\w.-]{3}\dQ~[\w~.-]{31,34}|\b[A-Za-z0-9]{14}\.atlasv1\.[\w-]{40,}"
        r"|\bglsa_\w{32}_[0-9A-Fa-f]{8}|\bglc_[A-Za-z0-9+/=]{32,}|\bNR(?:AK|II|AA|RA)-[\w-]{20,}"
        r"|\bsntry[su]_[\w+/=]{40,}|\bATATT3[\w=-]{30,}|\bATBB[\w=-]{24,}|\bntn_[A-Za-z0-9]{40,}"
        r"|\bsecret_[A-Za-z0-9]{40,}|\bfig[dou]_?[\w-]{36,}|\bpat[A-Za-z0-9]{14}\.[0-9a-f]{64}|\bpat-[a-z]{2}\d-[0-9a-f-]{36}"
        r"|\bsq0(?:atp|csp|idp)-[\w-]{22,}|\bEAAA[\w-]{56,}|\bEAA[A-Za-z0-9]{60,}|\bPMAK-[0-9a-f]{24}-[0-9a-f]{34}"
        r"|\bLTAI[A-Za-z0-9]{16,24}\b|\bpscale_(?:pw|tkn|oauth)_[\w.-]{30,}|\bAGE-SECRET-KEY-1[A-Z0-9]{50,}"
        r"|\bsbp_[0-9a-f]{40}|\bsb_secret_[\w-]{20,}|\bfm2_[\w+/=]{40,}|\bnfp_[A-Za-z0-9]{36,}|\bCFPAT-[\w-]{40,}"
        r"|\bHRKU-[\w-]{36,}|\bdp\.(?:pt|st|ct|sa)\.[\w.-]{40,}|\bops_eyJ[\w-]{40,}|\bsl\.[\w-]{100,}"
        r"|\bCCIPAT_[\w]{20,}|\bpul-[0-9a-f]{40}|\brnd_[A-Za-z0-9]{28,}|\bAQVN[\w-]{35,}"
        r"|\$(?:apr1|2[abxy]|5|6|y|argon2[id]{1,2})\$[^\s:\"']{8,}"
        r"|\bPuTTY-User-Key-File-\d[\s\S]*?(?:Private-MAC:[^\n]*|\Z)"
    )


@cache
def _openai() -> "re.Pattern[str]":
    return re.compile(r"\bsk-[A-Za-z0-9_-]{16,}")


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
    done = 0
    while at >= 0:
        if "PRIVATE KEY" in text[at : at + 60]:
            head = text[max(done, at - 20_000) : at]
            start = 0
            for odd in _not_base64().finditer(head):
                start = odd.end()
            begin = at - len(head) + start
            if begin < at:
                parts += [text[done:begin], mask]
                done = at
            at = text.find(_PEM_END, at + 60)
            if at >= 0 and at - done > 0:
                parts.append(text[done:at][: max(0, at - done - 20_000)])
                done = max(done, at - 20_000)
            continue
        at = text.find(_PEM_END, at + 1)
    return "".join([*parts, text[done:]])
