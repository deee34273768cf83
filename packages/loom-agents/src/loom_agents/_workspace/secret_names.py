"""The names of files that hold secrets by convention.

Names are compared after Unicode folding and without trailing dots and spaces, because some file
systems treat `.ENV` or `.env.` as `.env`. A secret in a file with an ordinary name is not
recognised.
"""

import unicodedata
from fnmatch import fnmatchcase

SECRET_NAMES = (
    ".env",
    ".env.*",
    "*.env",
    ".envrc",
    ".netrc",
    "_netrc",
    ".pgpass",
    ".npmrc",
    ".pypirc",
    ".htpasswd",
    ".git-credentials",
    ".dockercfg",
    "credentials",
    "credentials.json",
    "credentials.toml",
    "secrets",
    "secrets.*",
    "secret.*",
    "service-account*.json",
    "id_rsa*",
    "id_dsa*",
    "id_ecdsa*",
    "id_ed25519*",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.keystore",
    "*.kdbx",
    "*.ppk",
    "*.tfstate",
    "*.tfvars",
)

SECRET_FOLDERS = (".git", ".ssh", ".gnupg", ".aws", ".azure", ".gcloud", ".kube", ".docker")

HARMLESS_NAMES = (".env.example", ".env.sample", ".env.template", "*.pub", "secrets.py", "secret.py")


def is_secret(parts: tuple[str, ...]) -> bool:
    """Report whether a relative path names a secret file or is in a folder of secrets."""
    folded = [_folded(part) for part in parts]
    if any(part in SECRET_FOLDERS for part in folded):
        return True
    return any(
        any(fnmatchcase(part, pattern) for pattern in SECRET_NAMES)
        and not any(fnmatchcase(part, pattern) for pattern in HARMLESS_NAMES)
        for part in folded
    )


def _folded(part: str) -> str:
    return unicodedata.normalize("NFKC", part).casefold().rstrip(". ")
