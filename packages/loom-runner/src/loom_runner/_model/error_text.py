"""The message of an exception, whatever the exception is."""

from __future__ import annotations

from typing import Final

__all__ = ["message_of"]

_MAX_CHARACTERS: Final = 16_384


def message_of(error: BaseException) -> str:
    """Return the message of an exception; for a group, also those of its members.

    A long message is cut in its middle. An exception whose `str()` fails has none.
    """
    return _cut(_group_text(error) if isinstance(error, BaseExceptionGroup) else _text(error))


def _group_text(group: BaseExceptionGroup[BaseException]) -> str:
    return f"{group.message}: {'; '.join(_members(group))}"


def _members(group: BaseExceptionGroup[BaseException]) -> list[str]:
    found = []
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            found += _members(error)
        else:
            text = _cut(_text(error))
            found.append(f"{type(error).__name__}: {text}" if text else type(error).__name__)
    return found


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as exc:  # noqa: BLE001  (a method of the user's class)
        return f"(its message cannot be read: {type(exc).__name__})"


def _cut(text: str) -> str:
    if len(text) <= _MAX_CHARACTERS:
        return text
    half = _MAX_CHARACTERS // 2
    return f"{text[:half]} [... {len(text) - 2 * half:,} characters omitted ...] {text[-half:]}"
