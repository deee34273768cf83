"""Remember which files of a project may start programs.

A file that came with a repository can name commands to run, or hosts to send secrets to. It is used only after a
person has said so once; the word holds for the exact bytes of the file, so a file that a `git pull` changed is asked
about again. The words are kept in a file of the user, never in the project.
"""

import contextlib
import json
import os
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

__all__ = ["TrustedFiles"]


@dataclass(frozen=True, slots=True)
class TrustedFiles:
    """Hold the words of one user.

    Args:
        path: Where they are kept; made with the first word.
    """

    path: Path

    def trusts(self, file: Path, digest: str) -> bool:
        """Say whether the user has trusted this file with these bytes.

        Args:
            file: The file.
            digest: SHA-256 of its bytes, in hex.
        """
        entry = self._read().get(str(file.resolve()))
        return isinstance(entry, dict) and entry.get("sha256") == digest

    def knows(self, file: Path) -> bool:
        """Say whether the user has trusted this file with any bytes."""
        return str(file.resolve()) in self._read()

    def trust(self, file: Path, digest: str) -> None:
        """Keep the user's word. What it says about other files stays."""
        words = {**self._read(), str(file.resolve()): {"sha256": digest, "at": datetime.now(UTC).isoformat()}}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=".trust-")
        try:
            with os.fdopen(handle, "w") as out:
                json.dump({"format": "loom-trust/1", "files": words}, out, indent=1)
            Path(name).replace(self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise

    def _read(self) -> dict[str, object]:
        """Read the words; a file that is missing or damaged holds none, which only asks again."""
        try:
            whole = json.loads(self.path.read_bytes())
        except (OSError, ValueError):
            return {}
        files = whole.get("files") if isinstance(whole, dict) else None
        return files if isinstance(files, dict) else {}
