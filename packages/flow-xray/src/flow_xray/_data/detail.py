"""The short text next to a span's name, which distinguishes this call from its neighbours."""

from flow_xray._data.span import Json, Span

_MAX_CHARACTERS = 96


def detail_of(span: Span) -> str:
    """Return a short line about a span: attempt, error, tokens, model, note or arguments."""
    meta = span.meta
    parts: list[str] = []
    attempt = meta.get("attempt")
    if type(attempt) is int and attempt > 1:
        parts.append(f"attempt {attempt}")
    if span.status == "interrupted":
        parts.append("interrupted")
    model = meta.get("model")
    if span.error is not None:
        parts.append(f"{span.error.get('type', 'error')}: {span.error.get('message', '')}")
    elif isinstance(model, str) or "input_tokens" in meta:
        given, generated = meta.get("input_tokens"), meta.get("output_tokens")
        if type(given) is int or type(generated) is int:
            parts.append(f"{_count(given)} → {_count(generated)}")
    if isinstance(model, str) and model != span.name:
        parts.append(model)
    for key in ("reason", "question", "summary"):
        note = meta.get(key)
        if isinstance(note, str):
            parts.append(note)
            break
    else:
        if span.error is None and not isinstance(model, str):
            parts.append(arguments_of(span.input))
    return _one_line(" · ".join(part for part in parts if part))


def arguments_of(value: Json) -> str:
    """Return arguments in short: one value alone, several by name."""
    if isinstance(value, dict):
        pairs = [(key, _brief(member)) for key, member in list(value.items())[:6]]
        shown = [(key, text) for key, text in pairs if text]
        if len(value) == 1 and shown:
            return shown[0][1]
        texts_first = sorted(shown, key=lambda pair: not isinstance(value[pair[0]], str))
        return "  ".join(f"{key}={text}" for key, text in texts_first)
    return "" if value is None else _brief(value)


def _brief(value: Json) -> str:
    if isinstance(value, str):
        return value[: 2 * _MAX_CHARACTERS]
    if value is None or isinstance(value, bool | int | float):
        return (
            {None: "null", True: "true", False: "false"}[value]
            if value is None or isinstance(value, bool)
            else f"{value}"
        )
    if isinstance(value, list):
        if len(value) <= 3 and all(isinstance(item, str | int | float) for item in value):
            return "[" + ", ".join(_brief(item) for item in value) + "]"
        return f"[{len(value):,}]"
    return ""


def _count(value: Json) -> str:
    return f"{value:,}" if type(value) is int else "?"


def _one_line(text: str) -> str:
    line = " ".join(text[: 4 * _MAX_CHARACTERS].split())
    return line if len(line) <= _MAX_CHARACTERS else line[: _MAX_CHARACTERS - 1] + "…"
