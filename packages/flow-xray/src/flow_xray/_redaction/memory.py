"""The secrets that a session has seen, and those that are known from its beginning."""

from typing import Final

_MAX: Final = 500
_MIN: Final = 6  # a shorter secret would mask ordinary words


class Memory:
    """Secrets, the one that was seen last at the end; beyond a limit the first are forgotten.

    Secrets that are certain (those of a configuration) are never forgotten.
    """

    __slots__ = ("_certain", "_seen", "version")

    def __init__(self) -> None:
        self._seen: dict[str, None] = {}
        self._certain: dict[str, None] = {}
        self.version = 0  # changes when a secret is added

    def __len__(self) -> int:
        return len(self._seen) + len(self._certain)

    def add(self, secret: str, *, is_certain: bool = False) -> None:
        """Add a secret, and its forms in JSON and in a URL."""
        if len(secret) < _MIN or secret in self._certain:
            return
        if secret in self._seen and not is_certain:
            self._seen[secret] = self._seen.pop(secret)
            return
        forms = {secret: None}
        if not secret.isalnum():
            from json import dumps
            from urllib.parse import quote

            forms |= {dumps(secret)[1:-1]: None, quote(secret, safe=""): None}
        (self._certain if is_certain else self._seen).update(forms)
        while len(self._seen) > _MAX:
            del self._seen[next(iter(self._seen))]
        self.version += 1

    def masked(self, text: str, mask: str) -> str:
        """Return a text with every secret in it masked."""
        for secret in (*self._certain, *self._seen):
            if secret in text:
                text = text.replace(secret, mask)
                if secret in self._seen:
                    self._seen[secret] = self._seen.pop(secret, None)
        return text
