"""Differences between texts: the common beginning and end are omitted, the rest is compressed.

A difference is four numbers (the sizes of the common beginning and end, the size and the CRC-32 of
the result) and a zstd frame of the new middle part, with the old middle part as its dictionary. A
state that only grew at its end costs one comparison and a tiny frame. Applying a difference to a
text other than its base is an error, detected by the checksum, and never yields a wrong text.

Source: zstd's raw-content dictionaries. zstd finds a match in a dictionary only if its window
covers dictionary and content, at level 3 or above, and indexes only the last 8 * 2**hash_log bytes
of it; so both parameters grow with the text.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, Final

__all__ = ["apply", "difference", "leads_to"]

_HEAD: Final = struct.Struct(">IIII")
_LEVEL: Final = 3
_SMALLEST_HASH_LOG: Final = 17
_LARGEST_WINDOW_LOG: Final = 27
"""The largest that zstd decompresses by default."""
_STRIDE: Final = 65_536


def difference(before: bytes, data: bytes) -> bytes:
    """Return `data` as a difference to `before`."""
    import zstandard

    prefix = _equal_at_start(before, data)
    suffix = _equal_at_end(before, data, min(len(before), len(data)) - prefix)
    old, new = before[prefix : len(before) - suffix], data[prefix : len(data) - suffix]
    window_log = min(_LARGEST_WINDOW_LOG, max(10, (len(old) + len(new)).bit_length()))
    hash_log = max(_SMALLEST_HASH_LOG, (len(old) >> 3).bit_length())
    parameters: Any = zstandard.ZstdCompressionParameters.from_level(
        _LEVEL, window_log=window_log, hash_log=hash_log, chain_log=hash_log
    )
    frame = zstandard.ZstdCompressor(compression_params=parameters, dict_data=_dictionary(old)).compress(new)
    return _HEAD.pack(prefix, suffix, len(data), zlib.crc32(data)) + frame


def apply(before: bytes, delta: bytes, max_bytes: int = 0xFFFFFFFF) -> bytes:
    """Return the text that was passed to `difference(before, ...)`.

    Args:
        max_bytes: A larger text is refused before anything is decompressed.

    Raises:
        ValueError: The difference is damaged, was made from another text, or is too large.
    """
    import zstandard

    try:
        prefix, suffix, size_bytes, checksum = _HEAD.unpack_from(delta)
        if size_bytes > max_bytes:
            raise ValueError(f"the difference expands to {size_bytes:,} bytes, above the limit of {max_bytes:,}")
        frame_bytes = zstandard.frame_content_size(delta[_HEAD.size :])
        if prefix + suffix > len(before) or prefix + frame_bytes + suffix != size_bytes:
            raise ValueError("the difference was made from another state than the one before it")
        old = before[prefix : len(before) - suffix]
        new = zstandard.ZstdDecompressor(dict_data=_dictionary(old)).decompress(
            delta[_HEAD.size :], allow_extra_data=False
        )
    except (struct.error, zstandard.ZstdError, MemoryError) as exc:
        raise ValueError(f"the difference cannot be read ({exc})") from exc
    data = before[:prefix] + new + before[len(before) - suffix :]
    if len(data) != size_bytes or zlib.crc32(data) != checksum:
        raise ValueError("the difference was made from another state than the one before it")
    return data


def leads_to(delta: bytes, data: bytes) -> bool:
    """Return whether the result of a difference has the size and checksum of this text."""
    return _HEAD.unpack_from(delta)[2:] == (len(data), zlib.crc32(data))


def _dictionary(old: bytes) -> Any:
    import zstandard

    # zstd ignores a dictionary of fewer than 8 bytes.
    return zstandard.ZstdCompressionDict(old, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if len(old) >= 8 else None


def _equal_at_start(one: bytes, two: bytes) -> int:
    end = min(len(one), len(two))
    low = 0
    while low < end and one[low : low + _STRIDE] == two[low : low + _STRIDE]:
        low = min(low + _STRIDE, end)
    high = min(low + _STRIDE, end)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[low:middle] == two[low:middle] else (low, middle - 1)
    return low


def _equal_at_end(one: bytes, two: bytes, most: int) -> int:
    """Return how many bytes, at most `most`, are equal at the end."""
    low = 0
    while low < most and _ends_alike(one, two, low, min(low + _STRIDE, most)):
        low = min(low + _STRIDE, most)
    high = min(low + _STRIDE, most)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _ends_alike(one, two, low, middle) else (low, middle - 1)
    return low


def _ends_alike(one: bytes, two: bytes, low: int, high: int) -> bool:
    return one[len(one) - high : len(one) - low] == two[len(two) - high : len(two) - low]
