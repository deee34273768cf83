"""Store content that is too large for a conversation: images, audio, truncated texts."""

import contextlib
import hashlib
import mimetypes
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["BlobFolder"]


@dataclass(frozen=True, slots=True)
class BlobFolder:
    """Store bytes in a folder, in files named by their hash, so that equal bytes are stored once.

    Args:
        folder: The folder; created when the first bytes are stored.
    """

    folder: Path

    def keep(self, data: bytes, mime_type: str) -> dict[str, Any]:
        """Store bytes.

        Returns:
            Their `sha256`, `mime_type`, `size_bytes` and `path`.

        Durability: a file with the final name is always complete.
        """
        digest = hashlib.sha256(data).hexdigest()
        path = self.folder / f"{digest}{mimetypes.guess_extension(mime_type) or '.bin'}"
        if not path.exists():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.folder, prefix=".new-")
            try:
                with os.fdopen(handle, "wb") as out:
                    out.write(data)
                Path(name).replace(path)
            except BaseException:
                with contextlib.suppress(OSError):
                    Path(name).unlink()
                raise
        return {"sha256": digest, "mime_type": mime_type, "size_bytes": len(data), "path": str(path)}
