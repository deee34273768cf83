"""The names of files that hold secrets by convention.

Names are compared after Unicode folding, without invisible characters, trailing dots and spaces,
because some file systems treat `.ENV` or `.env.` as `.env`; and without what a backup adds (`~`,
`.bak`, `.old`). The rules are few and mostly about words: `secret`, `credential`, `token` and
`password` in the name of a file that is not source code or prose, and the places where programs
keep what they log in with. A secret in a file with an ordinary name is not recognised.
"""

import re
import unicodedata
from fnmatch import translate
from functools import lru_cache
from typing import Final

# A file of these kinds is source code or prose about secrets: `tokens.py`, `secrets.md`.
_TEXTS: Final = re.compile(
    r".*\.(?:py|pyi|js|jsx|mjs|ts|tsx|go|rs|java|kt|scala|rb|c|h|cc|cpp|hpp|cs|swift|m|ex|exs|erl|hs|ml|lua|pl|r|jl|sql"
    r"|po|md|rst|adoc|html?|css|scss|vue|svelte|proto|graphql|svg|png|ipynb|pub|tf)"
)
_WORDS: Final = re.compile(
    r"(?:^|[^a-z])(?:secrets?|credentials?|passwords?|passwd|vault[._-]?pass(?:word)?|ansible-vault)(?![a-z])"
    r"|service[._-]?account|adminsdk|^(?:access|auth|oauth|api|vault|gcp|refresh|id)?[._-]?tokens?(?:\.\w+)?$"
    r"|^auth\.json$|^(?:gcp|api|deploy|private|master|ssh)[._-]?keys?(?:\.(?:json|txt))?$|^authkey_"
)
# Characters that HFS+ leaves out when it compares names, and those that are as invisible.
_IGNORED: Final = re.compile(
    "[\\u00ad\\u034f\\u061c\\u180e\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u206f\\ufe00-\\ufe0f\\ufeff]"
)
_BACKUP: Final = re.compile(r"(?:~|\.(?:bak|old|orig|save|backup|copy|swp|swo)|\.\d)$")

SECRET_NAMES: Final = (
    *(".env", ".env[.~_-]*", "*.env", "env.*", ".envrc", ".flaskenv", ".netrc", "_netrc", ".authinfo*"),
    *(".npmrc", ".yarnrc.yml", ".pypirc", "pip.conf", "gradle.properties", ".htpasswd", "wp-config.php"),
    *(".git-credentials", ".gitconfig", "hgrc", ".dockercfg", ".vault*", ".boto", ".s3cfg", "*rclone.conf"),
    *(".my.cnf", ".pgpass", "pgpass.conf", ".mongorc*.js", ".terraformrc", "*.tfrc.json", ".databrickscfg"),
    *("*.pem", "*.key", "*.p8", "*.p12", "*.pfx", "*.asc", "*.gpg", "*.pgp", "*.der", "*.ppk", "*.kdbx"),
    *("*.jks", "*.bks", "*.keystore", "*.keychain*", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "*_id_rsa*"),
    *("*_id_ed25519*", "*.tfstate", "*.tfvars", "*.tfvars.json", "kubeconfig*", "*.kubeconfig", "admin.conf"),
    *(".*_history", ".lesshst", "cookies.sqlite", "logins.json", "key[34].db", "wallet.dat", "sftp*.json"),
    *("local.settings.json", "appsettings.*.json", "datasources.local.xml", ".netrc.gpg", "client_secret*"),
)
SECRET_FOLDERS: Final = (
    *(".git", ".svn", ".ssh", ".gnupg", ".password-store", ".aws", ".azure", ".gcloud", ".kube", ".docker"),
    *(".config/gcloud", ".config/gh", ".config/hub", ".config/op", ".config/doctl", ".config/rclone"),
    *(".terraform.d", ".snowflake", ".snowsql", ".dbt", ".kaggle", ".huggingface", ".fly", ".heroku", ".oci"),
    *(".aliyun", ".envs", ".m2/settings.xml", ".netlify/config.json", ".circleci/cli.yml"),
)
HARMLESS_NAMES: Final = (
    *("*.example", "*.sample", "*.template", "*.dist", "*.pub", "*.example.*", "*.sample.*", "*.template.*"),
    *("env.d.ts", "env.yaml", "env.yml", "appsettings.development.json"),
)


_KNOWN: Final = re.compile("|".join(map(translate, SECRET_NAMES)))
_HARMLESS: Final = re.compile("|".join(map(translate, HARMLESS_NAMES)))


@lru_cache(maxsize=65_536)  # a listing asks for the name of each file, each time
def is_secret(parts: tuple[str, ...]) -> bool:
    """Report whether a relative path names a secret file or is in a folder of secrets."""
    folded = [folded_name(part) for part in parts]
    whole = f"/{'/'.join(folded)}/"
    return any(f"/{folder}/" in whole for folder in SECRET_FOLDERS) or any(
        _is_secret_name(part, is_folder=number < len(folded) - 1) for number, part in enumerate(folded)
    )


@lru_cache(maxsize=65_536)
def _is_secret_name(name: str, *, is_folder: bool) -> bool:
    plain = _BACKUP.sub("", name)
    if _HARMLESS.match(plain):
        return False
    if _KNOWN.match(plain) or _KNOWN.match(name):
        return not (plain.startswith("env.") and _TEXTS.fullmatch(plain))
    if is_folder:
        return plain.strip(".") in ("secrets", "secret", "credentials")
    return _WORDS.search(plain) is not None and _TEXTS.fullmatch(plain) is None


def folded_name(part: str) -> str:
    """Return a name as the file systems that distinguish least compare it."""
    plain = part if part.isascii() else _IGNORED.sub("", unicodedata.normalize("NFKC", part))
    return plain.casefold().rstrip(". ")
