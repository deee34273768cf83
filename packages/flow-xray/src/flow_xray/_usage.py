"""Token counts of a model's answer, in one way of counting, whoever gave it.

`input_tokens` is everything that went in, what came from a cache or went into one included; `cache_read_tokens` and
`cache_write_tokens` are parts of it; `reasoning_tokens` is a part of `output_tokens`. The providers differ:

| given by | total input | cache | reasoning |
|---|---|---|---|
| OpenAI chat | `prompt_tokens` | `prompt_tokens_details`, included | `completion_tokens_details`, included |
| OpenAI responses | `input_tokens` | `input_tokens_details`, included | `output_tokens_details`, included |
| Anthropic | `input_tokens` and both beside it | `cache_read_input_tokens`, `cache_creation_input_tokens` | included |
| pydantic-ai | `input_tokens` | `cache_read_tokens`, `cache_write_tokens`, included | included |
| Google | `prompt_token_count` | `cached_content_token_count`, included | `thoughts_token_count`, beside the output |

Parts that are more than their whole were given beside it, by whomever, and are added to it.

Source: the usage objects of openai 3, anthropic 2, pydantic-ai 2 and google-genai 2; counting a cache twice is the best
known error of this field.
"""

from collections.abc import Mapping
from typing import Any, Final

_PARTS: Final = ("cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
_IN_DETAILS: Final = ("prompt_tokens_details", "input_tokens_details")
_OUT_DETAILS: Final = ("completion_tokens_details", "output_tokens_details", "details")


def usage_of(answer: object) -> dict[str, int | float | str]:
    """Return the counts (and model, provider and cost, where they are told) in what a model answered.

    Args:
        answer: a response with `usage` (an attribute, a key or a method), a usage object itself, a dict of either, or a
            list of pydantic-ai messages, whose responses are added up.

    Returns:
        input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, model, provider, cost_usd;
        what is not known is left out. Empty when there are no counts. It never raises.
    """
    try:
        if isinstance(answer, list | tuple):
            return _sum([found for message in answer if (found := _usage_of(message))])
        return _usage_of(answer)
    except Exception:  # noqa: BLE001  a foreign object may raise anything when it is looked at
        return {}


def inclusive(counts: Mapping[str, int]) -> dict[str, int]:
    """Return counts whose parts lie inside their wholes; a part of 0 is left out."""
    out = {key: count for key, count in counts.items() if count or key not in _PARTS}
    cached = out.get("cache_read_tokens", 0) + out.get("cache_write_tokens", 0)
    if "input_tokens" in out and cached > out["input_tokens"]:
        out["input_tokens"] += cached
    if "output_tokens" in out and out.get("reasoning_tokens", 0) > out["output_tokens"]:
        out["output_tokens"] += out["reasoning_tokens"]
    return out


def _usage_of(answer: object) -> dict[str, int | float | str]:
    usage = _member(answer, "usage")
    if usage is None:
        usage = _member(answer, "usage_metadata")
    if callable(usage):
        usage = usage()
    if usage is None:
        usage = answer
    counts = _counts(usage)
    if "input_tokens" not in counts and "output_tokens" not in counts:
        return {}
    found: dict[str, int | float | str] = dict(inclusive(counts))
    for key, names in (("model", ("model", "model_name", "model_version")), ("provider", ("provider_name",))):
        told = next((name for each in names if isinstance(name := _member(answer, each), str)), None)
        if told:
            found[key] = told
    cost = _member(usage, "cost")
    if cost is not None and not callable(cost) and not isinstance(cost, bool | str):
        found["cost_usd"] = float(cost)
    return found


def _counts(usage: object) -> dict[str, int]:
    read = _count(usage, "cache_read_tokens", "cache_read_input_tokens", "cached_content_token_count")
    written = _count(usage, "cache_write_tokens", "cache_creation_input_tokens", "cache_creation_tokens")
    given = _count(usage, "input_tokens", "prompt_tokens", "request_tokens", "prompt_token_count")
    made = _count(usage, "output_tokens", "completion_tokens", "response_tokens", "candidates_token_count")
    reasoning = _count(usage, "reasoning_tokens", "output_reasoning_tokens")
    for name in _IN_DETAILS:
        details = _member(usage, name)
        read = _count(details, "cached_tokens") if read is None else read
        written = _count(details, "cache_write_tokens") if written is None else written
    for name in _OUT_DETAILS:
        reasoning = reasoning or _count(_member(usage, name), "reasoning_tokens", "thinking_tokens")
    is_beside = any(
        _member(usage, name) is not None for name in ("cache_read_input_tokens", "cache_creation_input_tokens")
    )
    if is_beside and given is not None:
        given += (read or 0) + (written or 0)
    thoughts = _count(usage, "thoughts_token_count")
    if thoughts is not None:
        reasoning, made = thoughts, (made or 0) + thoughts
    found = {
        "input_tokens": given,
        "output_tokens": made,
        "cache_read_tokens": read,
        "cache_write_tokens": written,
        "reasoning_tokens": reasoning,
    }
    return {key: count for key, count in found.items() if count is not None}


def _sum(answers: list[dict[str, int | float | str]]) -> dict[str, int | float | str]:
    total: dict[str, int | float | str] = {}
    for answer in answers:
        for key, value in answer.items():
            before = total.get(key, 0)
            if isinstance(value, str) or isinstance(before, str):
                total[key] = value  # the last one's model and provider
            else:
                total[key] = before + value
    if any("cost_usd" not in answer for answer in answers):
        total.pop("cost_usd", None)  # a part of the cost is not the cost
    return total


def _member(thing: object, name: str) -> Any:
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)


def _count(thing: object, *names: str) -> int | None:
    """Return the first of these members that is a count."""
    for name in names:
        value = _member(thing, name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None
