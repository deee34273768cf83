"""The few words beside a span's name: what tells this call from its neighbours."""

from flow_xray._model import Json, Span

_WIDTH = 96


def detail_of(span: Span) -> str:
    """Return a short line about one span, without line breaks: model and tokens, arguments, attempt, error."""
    meta = span.meta
    words: list[str] = []
    attempt = meta.get("attempt")
    if type(attempt) is int and attempt > 1:
        words.append(f"attempt {attempt}")
    if span.status == "interrupted":
        words.append("interrupted")
    model = meta.get("model")
    if span.error is not None:
        words.append(f"{span.error.get('type', 'error')}: {span.error.get('message', '')}")
    elif isinstance(model, str) or "input_tokens" in meta:
        given, made = meta.get("input_tokens"), meta.get("output_tokens")
        if type(given) is int or type(made) is int:
            words.append(f"{_count(given)} → {_count(made)}")
    if isinstance(model, str) and model != span.name:
        words.append(model)
    for key in ("reason", "question", "summary"):
        note = meta.get(key)
        if isinstance(note, str):
            words.append(note)
            break
    else:
        if span.error is None and not isinstance(model, str):
            words.append(arguments_of(span.input))
    return _one_line(" · ".join(word for word in words if word))


def arguments_of(value: Json) -> str:
    """Return arguments as a person would say them: one value bare, several by name."""
    if isinstance(value, dict):
        pairs = [(key, _brief(member)) for key, member in list(value.items())[:6]]
        known = [(key, text) for key, text in pairs if text]
        if len(value) == 1 and known:
            return known[0][1]
        texts_first = sorted(known, key=lambda pair: not isinstance(value[pair[0]], str))
        return "  ".join(f"{key}={text}" for key, text in texts_first)
    return "" if value is None else _brief(value)


def _brief(value: Json) -> str:
    if isinstance(value, str):
        return value[: 2 * _WIDTH]
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
    line = " ".join(text[: 4 * _WIDTH].split())
    return line if len(line) <= _WIDTH else line[: _WIDTH - 1] + "…"
