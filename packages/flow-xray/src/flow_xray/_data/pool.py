"""The value pool: repeated values are stored once.

A chat history that is passed to 200 model calls is 200 lists of the same messages. Before a trace
is written, messages (objects with a "role") and long texts are replaced by references to a pool, by
their content, so a file grows with the conversation and not with its square.

A packed value is plain JSON again: `{"$ref": key}` stands for a pooled value. A recorded object
that looks like a reference is wrapped: `{"$raw": {"$ref": ...}}`. Pooled values may refer to other
pooled values, always earlier ones.

References alone still grow with the square, because each call has the list of all of them. With
`Lists`, a list that begins like a pooled one is written as the items that it adds,
`{"$more": [{"$ref": key}, [...]]}`, and is pooled itself.

The walk is recursive: its depth is bounded by the freezer (32 levels), which every value has
passed. A value of a file has passed no freezer: `unpack` bounds its depth and its size.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from flow_xray._data.span import Json

Key: TypeAlias = "int | str"

LONG_TEXT: Final = 400
REF: Final = "$ref"
RAW: Final = "$raw"
MORE: Final = "$more"
_MARKS: Final = frozenset({REF, RAW, MORE})
_MIN_LIST: Final = 4  # a shorter list costs less than its reference


class Lists:
    """The lists of references that are in a pool, as a tree of their items."""

    __slots__ = ("_keys", "_next")

    def __init__(self) -> None:
        self._next: dict[tuple[int, Key], int] = {}
        self._keys: dict[int, Key] = {}

    def pooled(self, items: list[Json], put: Callable[[Json], Key]) -> Json:
        """Return a reference to a list of references; return any other or a short list unchanged.

        The list is stored as the items that it adds to the longest pooled list with its beginning.
        """
        if len(items) < _MIN_LIST or not all(type(item) is dict and REF in item for item in items):
            return items
        keys: list[Key] = [item[REF] for item in items]  # type: ignore[call-overload,index,misc]  # checked above
        node = length = 0
        base: Key | None = None
        for index, key in enumerate(keys, 1):
            step = (node, key)
            node = self._next.setdefault(step, len(self._next) + 1)
            if node in self._keys:
                base, length = self._keys[node], index
        if base is None or length < len(keys):
            rest: list[Json] = items[length:]
            base = self._keys[node] = put(rest if base is None else {MORE: [{REF: base}, rest]})
        return {REF: base}


def pack(value: Json, put: Callable[[Json], Key], lists: Lists | None = None) -> Json:
    """Return `value` with messages and long texts replaced by references.

    Args:
        value: Plain JSON.
        put: Stores a packed value and returns its key; it must return the same key for an equal
            value.
        lists: When given, lists of references are pooled, too.
    """
    kind = type(value)
    if kind is str:
        return {REF: put(value)} if len(value) >= LONG_TEXT else value  # type: ignore[arg-type]  # narrowed by type()
    if kind is dict:
        packed: dict[str, Json] = {key: pack(member, put, lists) for key, member in value.items()}  # type: ignore[union-attr]  # narrowed by type()
        if "role" in packed and len(packed) > 1:
            return {REF: put(packed)}
        return {RAW: packed} if len(packed) == 1 and not _MARKS.isdisjoint(packed) else packed
    if kind is list:
        items = [pack(member, put, lists) for member in value]  # type: ignore[union-attr]  # narrowed by type()
        return items if lists is None else lists.pooled(items, put)
    return value
