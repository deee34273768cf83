"""Store which files of a project the user trusts.

A file that came with a repository can name commands to run, or hosts to send secrets to. It is used
only after the user has trusted it once. That is valid for the exact bytes of the file, so the user
is asked again when, for example, `git pull` changes it. It is stored in a file of the user, never
in the project.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from loom_runner.errors import NotOwnFile
from loom_runner.own_files import read_own_file

from loom_agents._errors import AgentError

__all__ = ["TrustedFiles"]


@dataclass(frozen=True, slots=True)
class TrustedFiles:
    """The files that one user trusts.

    Args:
        path: The file that stores them; created when the first file is trusted.
    """

    path: Path

    def trusts(self, file: Path, digest: str) -> bool:
        """Report whether the user has trusted this file with these bytes.

        Args:
            file: The file.
            digest: SHA-256 of its bytes, in hex.
        """
        entry = self._read().get(_key(file))
        return isinstance(entry, dict) and entry.get("sha256") == digest

    def knows(self, file: Path) -> bool:
        """Report whether the user has trusted this file with any bytes."""
        return _key(file) in self._read()

    def trust(self, file: Path, digest: str) -> None:
        """Store that the user trusts this file; the entries of other files are kept."""
        self.trust_all({file: digest})

    def trust_all(self, digests: Mapping[Path, str]) -> None:
        """Store that the user trusts these files, by their hashes."""
        if digests:
            at = datetime.now(UTC).isoformat()
            self._write(self._read() | {_key(file): {"sha256": digest, "at": at} for file, digest in digests.items()})

    def forget_below(self, folder: Path) -> None:
        """Forget the files below a folder."""
        before = self._read()
        kept = {name: entry for name, entry in before.items() if not name.startswith(f"{_key(folder)}{os.sep}")}
        if kept != before:
            self._write(kept)

    def _write(self, entries: Mapping[str, object]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=".trust-")
        except OSError as exc:
            raise AgentError(
                f"cannot store what you trust in {self.path}: {(exc.strerror or str(exc)).lower()}. "
                "Set XDG_CONFIG_HOME to a folder that you can write."
            ) from exc
        try:
            with os.fdopen(handle, "w") as out:
                json.dump({"format": "loom-trust/1", "files": entries}, out, indent=1)
            Path(name).replace(self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise

    def _read(self) -> dict[str, object]:
        """Read the entries. A missing or damaged file has none; then the user is asked again.

        Raises:
            AgentError: Others can write the file.
        """
        try:
            document = json.loads(read_own_file(self.path))
        except NotOwnFile as exc:
            raise AgentError(f"cannot read which files you trust: {exc}") from exc
        except (OSError, ValueError, RecursionError):
            return {}
        files = document.get("files") if isinstance(document, dict) else None
        return files if isinstance(files, dict) else {}


def _key(file: Path) -> str:
    return str(file.resolve())
