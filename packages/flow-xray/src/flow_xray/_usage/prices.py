"""Cost of model calls, computed only when a trace is written.

A call has a cost when the program recorded one (`cost_usd`), when a price file has its model, or
when `genai-prices` (extra `[prices]`) has it. Every other call is *unpriced*: it has no `cost_usd`,
which is not the same as 0. The network is not used: genai-prices contains its prices, and updates
them only on request.

A price file is JSON, in USD for a million tokens:

    {"models": {"my-model": {"input": 3, "output": 15, "cache_read": 0.3, "cache_write": 3.75},
                "small-*": {...}}}

A name that ends with `*` matches every model with that prefix; the longest match wins. Without a
price for the cache its tokens cost the same as other input. LiteLLM's price table (a flat object of
models with `input_cost_per_token`, ...) is read, too.
"""

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Final, TypeAlias, TypeVar

from flow_xray._data.span import Json, Span
from flow_xray._data.trace_data import TraceData
from flow_xray._errors import TraceFormatError

_COUNTS: Final = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
_MAX_CACHED: Final = 10_000  # prices in the cache of a long process
_LITELLM: Final = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cache_read": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
}


@dataclass(frozen=True, slots=True)
class Price:
    """USD for one million tokens."""

    input: float
    output: float
    cache_read: float
    cache_write: float

    def cost_usd(self, counts: Mapping[str, int]) -> float:
        """Return the cost of these counts.

        `input_tokens` includes what was read from or written to a cache.
        """
        read, written = counts.get("cache_read_tokens", 0), counts.get("cache_write_tokens", 0)
        plain = max(0, counts.get("input_tokens", 0) - read - written)
        total = plain * self.input + read * self.cache_read + written * self.cache_write
        return (total + counts.get("output_tokens", 0) * self.output) / 1e6


_Trace = TypeVar("_Trace", bound=TraceData)

Pricer: TypeAlias = Callable[[str, str | None, Mapping[str, int], datetime], "tuple[float, str] | None"]
"""model, provider, counts, time of the call -> cost in USD and the source of the price."""


def priced(trace: _Trace, path: "str | os.PathLike[str] | None" = None) -> _Trace:
    """Return the trace with `cost_usd` and `cost_source` added to calls whose price is known.

    Args:
        trace: A frozen trace; it is not changed.
        path: A price file; it is used before genai-prices, and replaces costs that were computed
            earlier.

    Raises:
        TraceFormatError: The price file cannot be read.
    """
    pricers: list[Pricer] = [] if path is None else [_file_pricer(os.fspath(path))]
    counted = [(index, counts) for index, span in enumerate(trace.spans) if (counts := _counts(span, path is not None))]
    if not counted:
        return trace
    if (library := _library_pricer()) is not None:
        pricers.append(library)
    if not pricers:
        return trace
    sums = _with_calls_below(trace.spans)
    spans = list(trace.spans)
    for index, counts in counted:
        span = spans[index]
        if span.kind != "llm" and span.id in sums:
            continue  # the sum of the calls below it, which have their own costs
        provider = span.meta.get("provider")
        at = datetime.fromtimestamp(span.started_at_ns / 1e9, UTC)
        for pricer in pricers:
            found = pricer(str(span.meta["model"]), provider if isinstance(provider, str) else None, counts, at)
            if found is not None:
                cost: dict[str, Json] = {"cost_usd": found[0], "cost_source": found[1]}
                spans[index] = replace(span, meta={**span.meta, **cost})
                break
    return replace(trace, spans=spans)


def _counts(span: Span, is_again: bool) -> dict[str, int]:
    """Return the counts of a call that needs a price.

    Empty when it has none, or has a cost already.
    """
    meta = span.meta
    if "input_tokens" not in meta and "output_tokens" not in meta:
        return {}
    if not isinstance(meta.get("model"), str) or ("cost_usd" in meta and not (is_again and "cost_source" in meta)):
        return {}
    return {key: count for key in _COUNTS if type(count := meta.get(key)) is int and count >= 0}


def _with_calls_below(spans: list[Span]) -> set[str]:
    """Return the ids of the spans that have a model call with counts anywhere below them."""
    parents = {span.id: span.parent_id for span in spans}
    found: set[str] = set()
    for span in spans:
        if span.kind == "llm" and "input_tokens" in span.meta:
            above = span.parent_id
            while above is not None and above not in found:
                found.add(above)
                above = parents.get(above)
    return found


# ---------------------------------------------------------------------- a price file


def _file_pricer(path: str) -> Pricer:
    try:
        with open(path, "rb") as stream:  # noqa: PTH123  pathlib costs 9 ms at import
            whole = json.load(stream)
    except OSError as error:
        raise TraceFormatError(
            f"cannot read the prices in {path!r}: because {error.strerror or error}. Give a JSON file."
        ) from error
    except (ValueError, RecursionError) as error:
        raise TraceFormatError(f"cannot read the prices in {path!r}: because it is not JSON ({error}).") from error
    prices = _prices_in(whole, path)
    stems = sorted((name[:-1] for name in prices if name.endswith("*")), key=len, reverse=True)
    source = os.path.basename(path)  # noqa: PTH119  as above

    def price_of(
        model: str, _provider: str | None, counts: Mapping[str, int], _at: datetime
    ) -> "tuple[float, str] | None":
        price = prices.get(model) or next((prices[f"{stem}*"] for stem in stems if model.startswith(stem)), None)
        return None if price is None else (price.cost_usd(counts), source)

    return price_of


def _prices_in(whole: object, path: str) -> dict[str, Price]:
    is_ours = isinstance(whole, dict) and "models" in whole
    models = whole["models"] if is_ours and isinstance(whole, dict) else whole
    if not isinstance(models, dict):
        raise TraceFormatError(
            f'cannot read the prices in {path!r}: because it has no models. Write {{"models": {{NAME: {{"input": USD, '
            '"output": USD}}}}, for a million tokens.'
        )
    found: dict[str, Price] = {}
    for name, given in models.items():
        if is_ours:
            found[name] = _price(given, {key: key for key in _LITELLM}, 1.0, f"{name!r} in {path!r}")
        elif isinstance(given, dict) and "input_cost_per_token" in given and "output_cost_per_token" in given:
            found[name] = _price(given, _LITELLM, 1e6, f"{name!r} in {path!r}")
    if not found:
        raise TraceFormatError(f"cannot read the prices in {path!r}: because no model in it has a price.")
    return found


def _price(given: object, names: Mapping[str, str], factor: float, where: str) -> Price:
    numbers: dict[str, float] = {}
    for key, name in names.items():
        value = given.get(name) if isinstance(given, dict) else None
        if value is None and key.startswith("cache"):
            value = numbers["input"] / factor
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            raise TraceFormatError(
                f"cannot read the price of {where}: because {name} is {value!r}. Give a number of 0 or more."
            )
        numbers[key] = value * factor
    return Price(**numbers)


# ---------------------------------------------------------------------- genai-prices


@cache
def _library_pricer() -> Pricer | None:
    """Return a pricer that uses genai-prices, or None when it is not installed."""
    try:
        import genai_prices

        source = f"genai-prices {version('genai-prices')}"
    except (ImportError, PackageNotFoundError):
        return None
    unknown: set[tuple[str, str | None]] = set()
    known: dict[object, float] = {}  # computing one takes 0.1 ms; equal calls of one hour cost the same

    def price_of(model: str, provider: str | None, counts: Mapping[str, int], at: datetime) -> tuple[float, str] | None:
        if (model, provider) in unknown:
            return None
        key = (model, provider, *counts.items(), at.date(), at.hour)
        if key in known:
            return known[key], source
        for name, owner in _readings(model, provider):
            try:
                found = genai_prices.calc_price(
                    genai_prices.Usage(**counts), name, provider_id=owner, genai_request_timestamp=at
                )
            except LookupError:
                continue
            except ValueError:
                return None  # counts that contradict each other have no price
            cost = float(found.total_price)
            if len(known) < _MAX_CACHED:
                known[key] = cost
            return cost, source
        unknown.add((model, provider))
        return None

    return price_of


def _readings(model: str, provider: str | None) -> list[tuple[str, str | None]]:
    """Return readings of a model's name: with provider, alone, split at `/`, split at `:`."""
    readings: list[tuple[str, str | None]] = [] if provider is None else [(model, provider)]
    readings.append((model, None))
    for mark in ("/", ":"):
        owner, found, rest = model.partition(mark)
        if found and owner and rest:
            readings.append((rest, owner))
    return readings
