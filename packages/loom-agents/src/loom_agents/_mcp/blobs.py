"""Keep bytes that no conversation should hold: pictures, sound, and the whole of a text that was cut."""

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
    """Keep bytes in a folder, each under its own hash, so that the same bytes are kept once.

    Args:
        folder: Where they go; made with the first ones.
    """

    folder: Path

    def keep(self, data: bytes, mime_type: str) -> dict[str, Any]:
        """Keep bytes and say, as JSON, what they are and where.

        Durability: the file has its name only when it is whole.
        """
        digest = hashlib.sha256(data).hexdigest()
        path = self.folder / f"{digest}{mimetypes.guess_extension(mime_type) or '.bin'}"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
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
