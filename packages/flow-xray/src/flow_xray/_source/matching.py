"""Find the function of the source that a span called.

A span belongs to the function at the location in `Span.code`. When the trace comes from another
folder or machine, the file whose path has the longest common end is taken; when the source has
changed since, the function of the same name in that file.
"""

import os
from collections.abc import Iterable, Mapping, Sequence

from flow_xray._data.span import Span
from flow_xray._source.functions import Function


def matched(spans: Iterable[Span], functions: Mapping[str, Function]) -> dict[str, str]:
    """Return the id of the function for each code location of the spans that is in the source."""
    by_base: dict[str, set[str]] = {}
    by_file: dict[str, list[Function]] = {}
    for each in functions.values():
        by_base.setdefault(os.path.basename(each.file), set()).add(each.file)  # noqa: PTH119  pathlib costs 9 ms
        by_file.setdefault(each.file, []).append(each)
    found: dict[str, str] = {}
    for span in spans:
        if not span.code or span.code in found:
            continue
        recorded, _, line = span.code.rpartition(":")
        base = recorded.replace("\\", "/").rpartition("/")[2]
        file = _nearest(recorded, by_base.get(base, ()))
        if file is None:
            continue
        function = functions.get(f"{file}:{line}")
        name = _last_part(span.name)
        if function is None or (_last_part(function.name) != name and _has_function(by_file[file], name)):
            named = [each for each in by_file[file] if _last_part(each.name) == name]
            function = named[0] if len(named) == 1 else function
        if function is not None:
            found[span.code] = function.id
    return found


def line_of(code: str) -> int:
    """Return the line in a code location; 0 when it has none."""
    line = code.rpartition(":")[2]
    return int(line) if line.isdecimal() else 0


def _nearest(recorded: str, files: Iterable[str]) -> str | None:
    """Return the file whose path has the longest common end with the recorded one.

    None when two tie.
    """
    wanted = recorded.replace("\\", "/").split("/")[::-1]

    def common(file: str) -> int:
        parts = file.replace("\\", "/").split("/")[::-1]
        pairs = zip(parts, wanted, strict=False)
        return next((n for n, (one, other) in enumerate(pairs) if one != other), len(wanted))

    ranked = sorted(((common(file), file) for file in files), reverse=True)
    if not ranked or (len(ranked) > 1 and ranked[0][0] == ranked[1][0]):
        return None
    return ranked[0][1]


def _has_function(functions: Sequence[Function], name: str) -> bool:
    return any(_last_part(each.name) == name for each in functions)


def _last_part(name: str) -> str:
    return name.rpartition(".")[2]
