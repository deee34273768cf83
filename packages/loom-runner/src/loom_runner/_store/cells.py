"""How a text is stored in a column of the database. Theory of operation:

A *cell* is the text itself if it is small and the store has no keys, so that any SQLite tool can
read it. Otherwise it is a BLOB whose first byte determines what follows:

| byte | what follows | used for |
|---|---|---|
| `z` | a zstd frame of the text | texts above 4 KB |
| `d` | two sizes (see `history`), the difference to the state before (see `delta`) | history |
| `b` | hash (32 bytes), size (8 bytes), a cell with the head | payloads above 64 KB: the text is in `blobs` |
| `t` | the text in UTF-8 | inside `s` only |
| `s` | a cell of the other kinds, encrypted (see `encryption_keys`) | everything, when the store has keys |

The hash in a `b` cell is not encrypted, so that unreferenced blobs can be found without a key; it
is then a keyed hash. A reader needs no knowledge of the writer: every cell except `d` can be read
separately. Frames and differences carry checksums, so a flipped bit is an error, never a wrong
text.

A few bytes of zstd can stand for gigabytes. So the size that a frame records is compared with a
limit before anything is decompressed: the larger one of what the store accepts to write and
`MAX_TEXT_BYTES`. What the rows of one read expand to together is limited, too.
"""

from __future__ import annotations

import hashlib
import struct
from functools import cache
from typing import TYPE_CHECKING, Final

from loom_runner._model.formatting import size
from loom_runner._store.delta import apply
from loom_runner.errors import PayloadTooLarge, StateEncodeError, StoreDamaged, StoreLocked

if TYPE_CHECKING:
    import apsw
    import zstandard

    from loom_runner._store.encryption_keys import KeyRing

__all__ = [
    "BLOB_ABOVE_BYTES",
    "DELTA_HEAD",
    "MAX_PAGE_BYTES",
    "MAX_TEXT_BYTES",
    "PLAIN_UP_TO_BYTES",
    "Cell",
    "Cells",
    "blob_of",
    "compressed",
    "encoded",
]

Cell = str | bytes

PLAIN_UP_TO_BYTES: Final = 4096
BLOB_ABOVE_BYTES: Final = 65_536
MAX_TEXT_BYTES: Final = 64_000_000
"""The largest text that is decompressed by a store with the default limits: as large as the largest
state that it writes."""
MAX_PAGE_BYTES: Final = 128_000_000
"""What rows that are read together may expand to, if that is more than `_MAX_RATIO` times what is
stored. (JSON becomes 5 to 30 times smaller.)"""
_MAX_RATIO: Final = 100
_HEAD_CHARACTERS: Final = 200
_FRESH_LEVEL: Final = 1
"""A state is compressed at every step; level 3 takes twice the time and saves a sixth of the
size.
"""
_BLOB: Final = struct.Struct(">c32sQ")
DELTA_HEAD: Final = struct.Struct(">cII")
"""`d`, the size of the last keyframe, and that of the differences since, including this one; both
compressed.
"""


class Cells:
    """Encode texts as cells, and decode them.

    Args:
        db: The store's connection. It is used inside the caller's transaction, or under the
            caller's lock.
        keys: Encrypt with these.
        max_payload_bytes: A larger payload is refused.
        max_state_bytes: The limit for states, which are written by `History`.
    """

    def __init__(
        self, db: apsw.Connection, path: str, keys: KeyRing | None, max_payload_bytes: int, max_state_bytes: int = 0
    ) -> None:
        self._db = db
        self._path = path
        self._max_bytes = max_payload_bytes
        self._max_read_bytes = max(MAX_TEXT_BYTES, max_payload_bytes, max_state_bytes)
        self._stored_bytes = self._expanded_bytes = 0
        self.keys = keys

    def begin_read(self) -> None:
        """Count anew what rows expand to: another read begins."""
        self._stored_bytes = self._expanded_bytes = 0

    # ------------------------------------------------------------------ texts

    def put(self, text: str, what: str) -> Cell:
        """Encode a payload; one above 64 KB is written to the table of blobs.

        Args:
            what: Its name in messages, for instance `the result of fetch`.

        Raises:
            PayloadTooLarge: It is larger than the limit. Nothing was written.
        """
        if self.keys is None and len(text) <= PLAIN_UP_TO_BYTES and text.isascii():
            return text
        data = encoded(text, what)
        if len(data) > self._max_bytes:
            raise PayloadTooLarge(
                f"cannot store {what}: it is {size(len(data))}, and the cap is {size(self._max_bytes)} "
                "(max_payload_bytes of SQLiteStore). Keep the content elsewhere and store its name."
            )
        if len(data) <= BLOB_ABOVE_BYTES:
            return self.encrypted(text if len(data) <= PLAIN_UP_TO_BYTES else b"z" + compressed(data))
        address = hashlib.sha256(data).digest() if self.keys is None else self.keys.address(data)
        if self._db.execute("SELECT 1 FROM blobs WHERE hash = ?", (address,)).fetchone() is None:
            content = self.encrypted(b"z" + compressed(data))
            self._db.execute(
                "INSERT INTO blobs (hash, size_bytes, content) VALUES (?, ?, ?)", (address, len(data), content)
            )
        head = self.encrypted(text[:_HEAD_CHARACTERS])
        return _BLOB.pack(b"b", address, len(data)) + (head if isinstance(head, bytes) else b"t" + head.encode())

    def get(self, cell: Cell, what: str) -> str:
        """Decode what `put` encoded.

        Raises:
            StoreDamaged: It cannot be read. The message names it `what`.
            StoreLocked: It is encrypted with a key that the store does not have.
        """
        if isinstance(cell, str):
            return cell
        if cell[:1] != b"b":
            return self.open(cell, what).decode()
        address, size_bytes = blob_of(cell)
        row = self._db.execute("SELECT content FROM blobs WHERE hash = ?", (address,)).fetchone()
        if row is None:
            raise self.damaged(what, f"its blob {address.hex()[:16]} is missing")
        data = self.open(row[0], what)
        if len(data) != size_bytes or (self.keys is None and hashlib.sha256(data).digest() != address):
            raise self.damaged(what, f"its blob {address.hex()[:16]} has another content")
        return data.decode()

    def preview(self, cell: Cell, what: str) -> str:
        """Return a payload as short JSON: the payload itself, or the hash, size and head of a
        blob.
        """
        if isinstance(cell, str) or cell[:1] != b"b":
            return self.get(cell, what)
        from json import dumps

        address, size_bytes = blob_of(cell)
        head = self.open(cell[_BLOB.size :], what).decode()
        return dumps({"blob": address.hex(), "size_bytes": size_bytes, "head": head}, ensure_ascii=False)

    # ------------------------------------------------------------------ parts

    def encrypted(self, cell: Cell) -> Cell:
        """Encrypt a cell, if the store has keys."""
        if self.keys is None:
            return cell
        return b"s" + self.keys.seal(cell if isinstance(cell, bytes) else b"t" + cell.encode())

    def encrypted_again(self, cell: Cell, what: str) -> Cell:
        """Encrypt a cell, whether it was encrypted before or not, with the first key; a blob's hash
        stays readable.
        """
        if isinstance(cell, bytes) and cell[:1] == b"b":
            head = self.encrypted(self.decrypted(cell[_BLOB.size :], what))
            return cell[: _BLOB.size] + (head if isinstance(head, bytes) else b"t" + head.encode())
        return self.encrypted(self.decrypted(cell, what))

    def decrypted(self, cell: Cell, what: str) -> Cell:
        """Decrypt a cell, if it is encrypted."""
        if isinstance(cell, str) or cell[:1] != b"s":
            return cell
        if self.keys is None:
            from loom_runner._store.encryption_keys import sealed_by

            raise StoreLocked(
                f"cannot read {self._path}: it is encrypted with key {sealed_by(cell[1:])!r}, and no key was given. "
                "Set LOOM_RUNNER_KEY or LOOM_RUNNER_KEY_FILE."
            )
        try:
            return self.keys.unseal(cell[1:])
        except StoreLocked as exc:
            raise StoreLocked(f"cannot read {what} in {self._path}: {exc}.") from exc

    def open(self, cell: Cell, what: str, before: bytes | None = None) -> bytes:
        """Decode any cell except a blob's to UTF-8; `before` is the base of a difference."""
        cell = self.decrypted(cell, what)
        if isinstance(cell, str):
            return cell.encode()
        match cell[:1]:
            case b"t":
                return cell[1:]
            case b"z":
                return self._decompressed(cell[1:], what)
            case b"d" if before is not None:
                try:
                    return apply(before, cell[DELTA_HEAD.size :], self._max_read_bytes)
                except ValueError as exc:
                    raise self.damaged(what, str(exc)) from exc
        raise self.damaged(what, "its first byte is unknown")

    def _decompressed(self, frame: bytes, what: str) -> bytes:
        import zstandard

        try:
            size_bytes = zstandard.frame_content_size(frame)
            if not 0 <= size_bytes <= self._max_read_bytes:
                raise self.damaged(what, self._too_large(size_bytes))
            self._stored_bytes += len(frame)
            self._expanded_bytes += size_bytes
            if self._expanded_bytes > max(MAX_PAGE_BYTES, _MAX_RATIO * self._stored_bytes):
                together = f"{size(self._stored_bytes)} expand to {size(self._expanded_bytes)} in the rows read with it"
                raise self.damaged(what, together)
            return zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
        except (zstandard.ZstdError, MemoryError) as exc:
            raise self.damaged(what, str(exc)) from exc

    def _too_large(self, size_bytes: int) -> str:
        if size_bytes < 0:
            return "its size is not recorded"
        return f"it expands to {size(size_bytes)}, above the limit of {size(self._max_read_bytes)}"

    def damaged(self, what: str, why: str) -> StoreDamaged:
        return StoreDamaged(
            f"cannot read {what} in {self._path}: it is damaged ({why}). See loom-runner verify, or restore a copy."
        )


def encoded(text: str, what: str) -> bytes:
    """Encode a text as UTF-8.

    Raises:
        StateEncodeError: It contains a lone surrogate.
    """
    try:
        return text.encode()
    except UnicodeEncodeError as exc:
        raise StateEncodeError(f"cannot store {what}: it is not Unicode ({exc}).") from exc


def compressed(data: bytes) -> bytes:
    """Return a zstd frame of the data."""
    return _compressor().compress(data)


@cache
def _compressor() -> zstandard.ZstdCompressor:
    import zstandard

    return zstandard.ZstdCompressor(level=_FRESH_LEVEL, write_checksum=True)


def blob_of(cell: bytes) -> tuple[bytes, int]:
    """Return the hash and the size in bytes that a `b` cell names."""
    _, address, size_bytes = _BLOB.unpack_from(cell)
    return address, size_bytes
