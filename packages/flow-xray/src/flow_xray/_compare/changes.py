"""The differences of the two calls of a pair: one line for each innermost value that differs."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal

from flow_xray._compare.align import Pair
from flow_xray._compare.normalize import normal
from flow_xray._data.span import Json, Span

_VOLATILE_META: Final = frozenset(
    {
        *("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"),
        *("reasoning_tokens", "cost_usd", "run_id", "pid"),
    }
)
_MAX_VALUE_CHARACTERS: Final = 160
_MAX_FACTS: Final = 8


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: what happened to the call at `path`, and each fact that differs."""

    what: Literal["added", "removed", "changed", "moved"]
    path: str
    facts: tuple[str, ...] = ()


def change_of(pair: Pair, ignore: Collection[str]) -> Change | None:
    """Return how the two calls of a pair differ, or None when they do not."""
    if pair.before is None or pair.after is None:
        return Change("added" if pair.before is None else "removed", pair.path)
    facts: list[str] = []
    old, new = _facets(pair.before), _facets(pair.after)
    for name in old:
        if name not in ignore and not _is_same(old[name], new[name]):
            _compare(name, normal(old[name], ignore), normal(new[name], ignore), facts)
    if len(facts) > _MAX_FACTS:
        facts = [*facts[:_MAX_FACTS], f"and {len(facts) - _MAX_FACTS:,} more"]
    if facts:
        return Change("changed", pair.path, tuple(facts))
    return Change("moved", pair.path) if pair.is_moved else None


def _is_same(old: Json, new: Json) -> bool:
    """Return whether two values are equal as recorded, which saves normalising.

    1 is not true here.
    """
    return old is new or (old == new and json.dumps(old) == json.dumps(new))


def _facets(span: Span) -> dict[str, Json]:
    error = span.error or {}
    return {
        "status": span.status,
        "input": span.input,
        "output": span.output,
        "error": f"{error.get('type')}: {error.get('message')}" if error else None,
        "meta": {key: value for key, value in span.meta.items() if key not in _VOLATILE_META},
    }


def _compare(path: str, old: Json, new: Json, facts: list[str]) -> None:
    """Add a line for each innermost value that differs."""
    if json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True):
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            if key in old and key in new:
                _compare(f"{path}.{key}", old[key], new[key], facts)
            else:
                facts.append(f"{path}.{key}: {_member(old, key)} -> {_member(new, key)}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            _compare(f"{path}[{index}]", one, other, facts)
    else:
        facts.append(f"{path}: {_shown(old)} -> {_shown(new)}")


def _member(value: dict[str, Json], key: str) -> str:
    return _shown(value[key]) if key in value else "not there"


def _shown(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    if len(text) <= _MAX_VALUE_CHARACTERS:
        return text
    return f"{text[: _MAX_VALUE_CHARACTERS - 40]} … ({len(text):,} characters) … {text[-30:]}"
