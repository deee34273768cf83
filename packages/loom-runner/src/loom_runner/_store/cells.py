"""How a text stands in a column of the database. Theory of operation:

A *cell* is the text itself while it is small and the store has no keys, so that any SQLite tool can read it. Otherwise
it is a BLOB that says by its first byte what follows:

| byte | what follows | used for |
|---|---|---|
| `z` | a zstd frame of the text | texts above 4 KB |
| `d` | two sizes (see `_history`), the difference to the state before (see `_delta`) | history |
| `b` | hash (32 bytes), size (8 bytes), a cell with the head | payloads above 64 KB: the text is in `blobs` |
| `t` | the text in UTF-8 | inside `s` only |
| `s` | a cell of the other kinds, encrypted (see `_keys`) | everything, when the store has keys |

The hash in a `b` cell is outside the encryption, so that blobs which nothing names any more can be found without a
key; it is then a keyed one. A reader needs to know nothing about the writer: every cell can be read by itself, except
`d`. Frames and differences carry checksums, so a flipped bit is an error, never a wrong text.
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
_HEAD_CHARACTERS: Final = 200
_FRESH_LEVEL: Final = 1
"""A state is compressed whole at every step; level 3 takes twice the time for a sixth less."""
_BLOB: Final = struct.Struct(">c32sQ")
DELTA_HEAD: Final = struct.Struct(">cII")
"""`d`, the size of the last whole state, and that of the differences since, this one included; both compressed."""


class Cells:
    """Write texts as cells, and read them back.

    Args:
        db: The store's connection. It is used inside the caller's transaction, or under the caller's lock.
        keys: Seal with these.
        max_payload_bytes: A larger payload is refused.
    """

    def __init__(self, db: apsw.Connection, path: str, keys: KeyRing | None, max_payload_bytes: int) -> None:
        self._db = db
        self._path = path
        self._max_bytes = max_payload_bytes
        self.keys = keys

    # ------------------------------------------------------------------ texts

    def put(self, text: str, what: str) -> Cell:
        """Write a payload; one above 64 KB goes to the table of blobs.

        Args:
            what: How a message calls it, for instance `the result of fetch`.

        Raises:
            PayloadTooLarge: It is above the cap. Nothing was written.
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
        """Read what `put` wrote.

        Raises:
            StoreDamaged: It cannot be read. The message calls it `what`.
            StoreLocked: It is encrypted, and not with one of the keys at hand.
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
        """Read a payload as JSON that is never long: itself, or, for a blob, its hash, size and head."""
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
        """Encrypt a cell with the first key, whatever it was encrypted with before; a blob's hash stays outside."""
        if isinstance(cell, bytes) and cell[:1] == b"b":
            head = self.encrypted(self.decrypted(cell[_BLOB.size :], what))
            return cell[: _BLOB.size] + (head if isinstance(head, bytes) else b"t" + head.encode())
        return self.encrypted(self.decrypted(cell, what))

    def decrypted(self, cell: Cell, what: str) -> Cell:
        """Take the encryption off a cell."""
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
        """Read any cell but a blob's, as UTF-8; `before` is the state that a difference was made against."""
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
                    return apply(before, cell[DELTA_HEAD.size :])
                except ValueError as exc:
                    raise self.damaged(what, str(exc)) from exc
        raise self.damaged(what, "it begins as no cell does")

    def _decompressed(self, frame: bytes, what: str) -> bytes:
        import zstandard

        try:
            return zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
        except (zstandard.ZstdError, MemoryError) as exc:
            raise self.damaged(what, str(exc)) from exc

    def damaged(self, what: str, why: str) -> StoreDamaged:
        return StoreDamaged(
            f"cannot read {what} in {self._path}: it is damaged ({why}). See loom-runner verify, or restore a copy."
        )


def encoded(text: str, what: str) -> bytes:
    """Write a text in UTF-8; one with half a surrogate pair in it is refused."""
    try:
        return text.encode()
    except UnicodeEncodeError as exc:
        raise StateEncodeError(f"cannot store {what}: it is not Unicode ({exc}).") from exc


def compressed(data: bytes) -> bytes:
    """Compress."""
    return _compressor().compress(data)


@cache
def _compressor() -> zstandard.ZstdCompressor:
    import zstandard

    return zstandard.ZstdCompressor(level=_FRESH_LEVEL, write_checksum=True)


def blob_of(cell: bytes) -> tuple[bytes, int]:
    """The hash and the size in bytes that a `b` cell names."""
    _, address, size_bytes = _BLOB.unpack_from(cell)
    return address, size_bytes
