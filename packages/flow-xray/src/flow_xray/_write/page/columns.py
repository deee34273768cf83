"""Pack columns of integers so that they compress well.

Similar bytes compress well. So a column stores differences where neighbours are similar, and its
bytes are laid out in planes: the lowest byte of every number, then the next byte of every number,
and so on up to the highest that any number needs. The high planes are nearly all zeros, and the
plane of a slowly growing number has long runs.

Numbers below zero are folded into even and odd: 0, -1, 1, -2, ... become 0, 1, 2, 3, ...
"""

import sys
from array import array
from collections.abc import Iterable

_LARGEST = 2**63 - 1


def fold(value: int) -> int:
    """Return a number of 0 or more for one of any sign."""
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
    """Return the bytes of the numbers in planes, and how many planes.

    Above 2^63 - 1 a number is cut to that.
    """
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
