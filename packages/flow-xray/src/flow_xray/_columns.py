"""Pack columns of whole numbers so that they compress well.

What compresses is likeness. So a column keeps differences where neighbours are alike, and its bytes are laid out in
planes: the lowest byte of every number, then the next byte of every number, and so on up to the highest that any number
needs. The high planes are nearly all zeros, and a plane of a slowly growing number is a run.

Numbers below zero are folded into even and odd: 0, -1, 1, -2, ... become 0, 1, 2, 3, ...
"""

import sys
from array import array
from collections.abc import Iterable

_LARGEST = 2**63 - 1


def fold(value: int) -> int:
    """Return a number without a sign for one with a sign."""
    return value << 1 if value >= 0 else (-value << 1) - 1


def differences(values: Iterable[int]) -> list[int]:
    """Return the folded differences of neighbours; the first is the difference to 0."""
    out: list[int] = []
    last = 0
    for value in values:
        out.append(fold(value - last))
        last = value
    return out


def planes(values: Iterable[int]) -> tuple[bytes, int]:
    """Return the bytes of the numbers (0 to 2^63 - 1; larger ones are cut to that) in planes, and how many planes."""
    packed = array("Q", (min(_LARGEST, value) for value in values))
    if not packed:
        return b"", 0
    if sys.byteorder == "big":
        packed.byteswap()
    raw = packed.tobytes()
    size = len(raw)
    count = 8
    while count > 1 and raw[count - 1 :: 8].count(0) * 8 == size:
        count -= 1
    return b"".join(raw[k::8] for k in range(count)), count
