"""Token counts in a model's response, counted the same way for every provider.

`input_tokens` is the total input, including what was read from a cache or written to one;
`cache_read_tokens` and `cache_write_tokens` are parts of it; `reasoning_tokens` is a part of
`output_tokens`. The providers differ:

| provider | total input | cache | reasoning |
|---|---|---|---|
| OpenAI chat | `prompt_tokens` | `prompt_tokens_details`, included | `completion_tokens_details`, included |
| OpenAI responses | `input_tokens` | `input_tokens_details`, included | `output_tokens_details`, included |
| Anthropic | `input_tokens` + both caches | `cache_read_input_tokens`, `cache_creation_input_tokens` | included |
| pydantic-ai | `input_tokens` | `cache_read_tokens`, `cache_write_tokens`, included | included |
| Google | `prompt_token_count` | `cached_content_token_count`, included | `thoughts_token_count`, not in the output |

Parts that are larger than their whole were not included in it, and are added.

Source: the usage objects of openai 3, anthropic 2, pydantic-ai 2 and google-genai 2.
"""

from collections.abc import Mapping
from typing import Any, Final

_PARTS: Final = ("cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
_IN_DETAILS: Final = ("prompt_tokens_details", "input_tokens_details")
_OUT_DETAILS: Final = ("completion_tokens_details", "output_tokens_details", "details")


def usage_of(response: object) -> dict[str, int | float | str]:
    """Return the counts in a model's response, and its model, provider and cost where it has them.

    Args:
        response: A response with `usage` (an attribute, a key or a method), a usage object itself,
            a dict of either, or a list of pydantic-ai messages, whose responses are added up.

    Returns:
        input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, model,
        provider, cost_usd; unknown members are omitted. Empty when there are no counts.

    It never raises.
    """
    try:
        if isinstance(response, list | tuple):
            return _sum([found for message in response if (found := _usage_of(message))])
        return _usage_of(response)
    except Exception:  # noqa: BLE001  attributes of a foreign object may raise anything
        return {}


def inclusive(counts: Mapping[str, int]) -> dict[str, int]:
    """Return counts whose parts are included in their wholes; a part of 0 is left out."""
    out = {key: count for key, count in counts.items() if count or key not in _PARTS}
    cached = out.get("cache_read_tokens", 0) + out.get("cache_write_tokens", 0)
    if "input_tokens" in out and cached > out["input_tokens"]:
        out["input_tokens"] += cached
    if "output_tokens" in out and out.get("reasoning_tokens", 0) > out["output_tokens"]:
        out["output_tokens"] += out["reasoning_tokens"]
    return out


def _usage_of(response: object) -> dict[str, int | float | str]:
    usage = _member(response, "usage")
    if usage is None:
        usage = _member(response, "usage_metadata")
    if callable(usage):
        usage = usage()
    if usage is None:
        usage = response
    counts = _counts(usage)
    if "input_tokens" not in counts and "output_tokens" not in counts:
        return {}
    found: dict[str, int | float | str] = dict(inclusive(counts))
    for key, names in (("model", ("model", "model_name", "model_version")), ("provider", ("provider_name",))):
        text = next((name for each in names if isinstance(name := _member(response, each), str)), None)
        if text:
            found[key] = text
    cost = _member(usage, "cost")
    if cost is not None and not callable(cost) and not isinstance(cost, bool | str):
        found["cost_usd"] = float(cost)
    return found


def _counts(usage: object) -> dict[str, int]:
    read = _count(usage, "cache_read_tokens", "cache_read_input_tokens", "cached_content_token_count")
    written = _count(usage, "cache_write_tokens", "cache_creation_input_tokens", "cache_creation_tokens")
    given = _count(usage, "input_tokens", "prompt_tokens", "request_tokens", "prompt_token_count")
    generated = _count(usage, "output_tokens", "completion_tokens", "response_tokens", "candidates_token_count")
    reasoning = _count(usage, "reasoning_tokens", "output_reasoning_tokens")
    for name in _IN_DETAILS:
        details = _member(usage, name)
        read = _count(details, "cached_tokens") if read is None else read
        written = _count(details, "cache_write_tokens") if written is None else written
    for name in _OUT_DETAILS:
        reasoning = reasoning or _count(_member(usage, name), "reasoning_tokens", "thinking_tokens")
    is_separate = any(
        _member(usage, name) is not None for name in ("cache_read_input_tokens", "cache_creation_input_tokens")
    )
    if is_separate and given is not None:
        given += (read or 0) + (written or 0)
    thoughts = _count(usage, "thoughts_token_count")
    if thoughts is not None:
        reasoning, generated = thoughts, (generated or 0) + thoughts
    found = {
        "input_tokens": given,
        "output_tokens": generated,
        "cache_read_tokens": read,
        "cache_write_tokens": written,
        "reasoning_tokens": reasoning,
    }
    return {key: count for key, count in found.items() if count is not None}


def _sum(responses: list[dict[str, int | float | str]]) -> dict[str, int | float | str]:
    total: dict[str, int | float | str] = {}
    for response in responses:
        for key, value in response.items():
            before = total.get(key, 0)
            if isinstance(value, str) or isinstance(before, str):
                total[key] = value  # model and provider of the last one
            else:
                total[key] = before + value
    if any("cost_usd" not in response for response in responses):
        total.pop("cost_usd", None)  # the cost of some calls is not the cost of all
    return total


def _member(thing: object, name: str) -> Any:
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)


def _count(thing: object, *names: str) -> int | None:
    """Return the first of these members that is a count, or None."""
    for name in names:
        value = _member(thing, name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None
