"""The value pool: what repeats is stored once.

A chat history that is passed to 200 model calls is 200 lists of the same messages. Before a trace is written,
messages (objects with a "role") and long texts are replaced by a reference to a pool, by content, so a file
grows with the conversation and not with its square.

A packed value is plain JSON again: `{"$ref": key}` stands for a pooled value. An object of the user that looks
like a reference is wrapped: `{"$raw": {"$ref": ...}}`. Pooled values may refer to other pooled values, always
earlier ones.

The walk is iterative only in depth by the limit of the freezer (32 levels); values of other origin pass the
freezer first.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from flow_xray._model import Json

Key: TypeAlias = "int | str"

LONG_TEXT: Final = 400
_REF: Final = "$ref"
_RAW: Final = "$raw"


def pack(value: Json, put: Callable[[Json], Key]) -> Json:
    """Return `value` with messages and long texts replaced by references.

    Args:
        value: plain JSON.
        put: stores a packed value and returns its key; it must return the same key for an equal value.
    """
    kind = type(value)
    if kind is str:
        return {_REF: put(value)} if len(value) >= LONG_TEXT else value  # type: ignore[arg-type]  # narrowed by type()
    if kind is dict:
        packed: dict[str, Json] = {key: pack(member, put) for key, member in value.items()}  # type: ignore[union-attr]  # narrowed by type()
        if "role" in packed and len(packed) > 1:
            return {_REF: put(packed)}
        if len(packed) == 1 and (_REF in packed or _RAW in packed):
            return {_RAW: packed} if _REF in value or _RAW in value else packed  # type: ignore[operator]  # narrowed by type()
        return packed
    if kind is list:
        return [pack(member, put) for member in value]  # type: ignore[union-attr]  # narrowed by type()
    return value


def unpack(value: Json, pool: Mapping[Key, Json]) -> Json:
    """Return `value` with every reference resolved; pooled values are resolved already.

    Raises:
        KeyError: a reference leads nowhere.
    """
    if isinstance(value, dict):
        if len(value) == 1:
            if _REF in value:
                key = value[_REF]
                if not isinstance(key, int | str):
                    raise KeyError(key)
                return pool[key]
            raw = value.get(_RAW)
            if isinstance(raw, dict):
                return {key: unpack(member, pool) for key, member in raw.items()}
        return {key: unpack(member, pool) for key, member in value.items()}
    if isinstance(value, list):
        return [unpack(member, pool) for member in value]
    return value
