"""A YAML mapping with the line of every key; duplicate keys and tags are refused.

The text may come from anybody: before PyYAML builds anything, which it does by recursion, depth and
number of its events are checked one by one.
"""

from __future__ import annotations

from typing import Any

import yaml  # type: ignore[import-untyped]  # its authors publish no types

from loom_ops._errors import Problem

__all__ = ["Keys", "read_mapping"]

_MAX_NODES = 10_000
_MAX_DEPTH = 30


class Keys(dict[str, Any]):
    """A mapping with the line of each of its keys (from 1)."""

    lines: dict[str, int]
    line: int


class _BadYamlError(Exception):
    def __init__(self, line: int, text: str, fix: str) -> None:
        super().__init__(text)
        self.problem = Problem(line, text, fix)


def read_mapping(text: str, first_line: int) -> tuple[Keys, list[Problem]]:
    """Parse a mapping; for invalid YAML, return an empty mapping and the problem.

    Args:
        text: The YAML.
        first_line: The line of the file in which it begins, from 1.
    """
    empty = Keys()
    empty.lines, empty.line = {}, first_line
    try:
        _check_events(text, first_line)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            return empty, []
        value = _build(node, first_line, [0])
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line = first_line + (mark.line if mark else 0)
        return empty, [Problem(line, f"this is not YAML ({exc.problem or exc.context})", "Correct the line")]
    except yaml.YAMLError as exc:
        return empty, [Problem(first_line, f"this is not YAML ({' '.join(str(exc).split())})", "Correct the text")]
    except _BadYamlError as exc:
        return empty, [exc.problem]
    if not isinstance(value, Keys):
        return empty, [Problem(first_line, "this is not a list of `key: value` lines", "Write one key a line")]
    return value, []


def _check_events(text: str, first_line: int) -> None:
    """Check depth and number of the events of YAML, without building anything."""
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        line = first_line + event.start_mark.line
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MAX_DEPTH:
            raise _BadYamlError(line, f"this is nested more than {_MAX_DEPTH} deep", "Write less in one value")
        if number > 3 * _MAX_NODES:
            raise _BadYamlError(line, f"this has more than {_MAX_NODES:,} nodes", "Write less")


def _build(node: yaml.Node, first_line: int, seen: list[int], depth: int = 0) -> Any:
    """Build plain data from a node; references are followed, so number and depth are bounded."""
    seen[0] += 1
    line = first_line + node.start_mark.line
    if depth > _MAX_DEPTH:
        raise _BadYamlError(line, f"this is nested more than {_MAX_DEPTH} deep", "Use no references")
    if seen[0] > _MAX_NODES:
        raise _BadYamlError(line, f"this has more than {_MAX_NODES} nodes", "Write less, and use no references")
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, first_line, seen, depth + 1) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        keys = Keys()
        keys.lines, keys.line = {}, line
        for key_node, value_node in node.value:
            key_line = first_line + key_node.start_mark.line
            key = _scalar(key_node, key_line)
            if not isinstance(key, str):
                raise _BadYamlError(key_line, f"the key {key!r} is not a word", "Put quotes around it")
            if key in keys:
                raise _BadYamlError(key_line, f"the key {key!r} is given twice", "Keep one of them")
            keys[key] = _build(value_node, first_line, seen, depth + 1)
            keys.lines[key] = key_line
        return keys
    return _scalar(node, line)


def _scalar(node: yaml.Node, line: int) -> Any:
    if not isinstance(node, yaml.ScalarNode):
        raise _BadYamlError(line, "a key is a list or a mapping", "Use a word as the key")
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node)
    except yaml.YAMLError as exc:
        raise _BadYamlError(line, f"the value {node.value!r} cannot be read ({exc})", "Put quotes around it") from exc
    except ValueError as exc:  # for example the date 2026-13-45
        raise _BadYamlError(line, f"the value {node.value!r} cannot be read ({exc})", "Put quotes around it") from exc
    finally:
        loader.dispose()
