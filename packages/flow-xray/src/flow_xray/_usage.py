"""Token counts of a model's answer, in one way of counting, whoever gave it.

`input_tokens` is everything that went in, what came from a cache included; `cache_read_tokens` and
`cache_write_tokens` are parts of it; `reasoning_tokens` is a part of `output_tokens`. The providers differ:

| given by | total input | cache |
|---|---|---|
| OpenAI chat | `prompt_tokens` | `prompt_tokens_details.cached_tokens`, included |
| OpenAI responses | `input_tokens` | `input_tokens_details.cached_tokens`, included |
| Anthropic | `input_tokens` and both beside it | `cache_read_input_tokens`, `cache_creation_input_tokens` |
| pydantic-ai | `input_tokens` (older: `request_tokens`) | `cache_read_tokens`, `cache_write_tokens`, included |

Source: the usage objects of the named libraries; counting a cache twice is the best known error of this field.
"""

from collections.abc import Mapping
from typing import Any


def usage_of(answer: object) -> dict[str, int | str]:
    """Return the counts (and the model's name) in a response, a usage object or a dict; empty when there are none.

    Args:
        answer: a response with `usage` (an attribute, a key or a method), a usage object itself, or a dict of either.
    """
    usage = _member(answer, "usage")
    if callable(usage):
        usage = usage()
    if usage is None:
        usage = answer
    read = _count(usage, "cache_read_tokens", "cache_read_input_tokens")
    written = _count(usage, "cache_write_tokens", "cache_creation_input_tokens", "cache_creation_tokens")
    given = _count(usage, "input_tokens", "prompt_tokens", "request_tokens")
    made = _count(usage, "output_tokens", "completion_tokens", "response_tokens")
    is_beside = (
        _member(usage, "cache_read_input_tokens") is not None
        or _member(usage, "cache_creation_input_tokens") is not None
    )
    if is_beside and given is not None:
        given += (read or 0) + (written or 0)
    if read is None:
        for details in ("prompt_tokens_details", "input_tokens_details"):
            read = _count(_member(usage, details), "cached_tokens") if read is None else read
    reasoning = _count(usage, "reasoning_tokens")
    for details in ("completion_tokens_details", "output_tokens_details", "details"):
        reasoning = _count(_member(usage, details), "reasoning_tokens") if reasoning is None else reasoning
    found: dict[str, int | str | None] = {
        "input_tokens": given,
        "output_tokens": made,
        "cache_read_tokens": read or None,
        "cache_write_tokens": written or None,
        "reasoning_tokens": reasoning or None,
    }
    model = _member(answer, "model") or _member(answer, "model_name")
    if isinstance(model, str):
        found["model"] = model
    return {key: value for key, value in found.items() if value is not None}


def _member(thing: object, name: str) -> Any:
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)


def _count(thing: object, *names: str) -> int | None:
    """Return the first of these members that is a count."""
    for name in names:
        value = _member(thing, name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None
