"""The report in XML that pytest writes at its end (`--junit-xml`, family xunit1).

The text on the terminal can be written by any test; this file is written by pytest after all tests.
It is read as a stream, with limits, and refused when it declares a document type: pytest writes
none, and entities could make a small file large.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from rule_based_verifier.gates.verdicts import Counts, Failure

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["JunitReport"]

_MAX_BYTES: Final = 100_000_000
_MESSAGE: Final = 300
_CONTROL: Final = re.compile(r"#x([01][0-9A-F])")  # as pytest writes what XML cannot hold
_PLACE: Final = re.compile(r"^(?P<file>[^\s:][^:\n]{0,300}):(?P<line>\d{1,7}): ", re.MULTILINE)


class JunitReport:
    """Read one report.

    Args:
        path: Where pytest writes it.
        max_failures: How many failures are kept.
    """

    def __init__(self, path: Path, max_failures: int) -> None:
        self.path = path
        self.counts = Counts()
        self.failures: list[Failure] = []
        self.failures_total = 0
        self._max_failures = max_failures
        self._numbers = {"passed": 0, "failed": 0, "errors": 0, "skipped": 0}

    def read(self) -> str | None:
        """Read the file; return why it could not be read, or None."""
        try:
            size = self.path.stat().st_size
            with self.path.open("rb") as stream:
                if size > _MAX_BYTES:
                    return f"its report is larger than {_MAX_BYTES} bytes"
                if b"<!" in stream.read(2_000).partition(b"<testsuites")[0]:
                    return "its report declares a document type"
                stream.seek(0)
                elements: Iterator[tuple[str, ET.Element]] = ET.iterparse(stream)  # noqa: S314  see above
                for _, element in elements:
                    if element.tag == "testcase":
                        self._add(element)
                        element.clear()
        except FileNotFoundError:
            return "it wrote no report: something ended the process before pytest did"
        except (OSError, ET.ParseError, ValueError) as exc:
            return f"its report cannot be read ({type(exc).__name__})"
        self.counts = Counts(**self._numbers)
        return None

    def _add(self, case: ET.Element) -> None:
        kinds = {child.tag: child for child in case}
        for tag, name in (("failure", "failed"), ("error", "errors")):
            if tag in kinds:
                self._numbers[name] += 1
                self._fail(case, kinds[tag])
        if "skipped" in kinds:
            self._numbers["skipped"] += 1
        elif not kinds.keys() & {"failure", "error"}:
            self._numbers["passed"] += 1

    def _fail(self, case: ET.Element, problem: ET.Element) -> None:
        self.failures_total += 1
        if len(self.failures) >= self._max_failures:
            return
        file, line = case.get("file", ""), case.get("line")
        text = (problem.text or "")[-20_000:]
        inside = [found for found in _PLACE.finditer(text) if found["file"] == file] or list(_PLACE.finditer(text))
        place = inside[-1] if inside else None
        if not file and place is not None:
            file = place["file"]
        number = int(place["line"]) if place is not None and place["file"] == file else None
        if number is None and line is not None and line.isdigit():
            number = int(line) + 1  # pytest counts from 0
        message = problem.get("message", "").strip().partition("\n")[0]
        if message == "collection failure":
            message = next((row[1:].strip() for row in reversed(text.splitlines()) if row.startswith("E ")), message)
        message = _CONTROL.sub(lambda found: chr(int(found[1], 16)), message)
        self.failures.append(Failure(_id_of(case, file), file, number, message[:_MESSAGE]))


def _id_of(case: ET.Element, file: str) -> str:
    """Return the id of a test as pytest takes it: `file::Class::name`."""
    module = file.removesuffix(".py").replace("/", ".")
    classes = case.get("classname", "").removeprefix(module).strip(".").split(".")
    name = case.get("name", "")
    if not case.get("classname"):  # a file that could not be collected
        return file or name
    return "::".join(filter(None, (file, *classes, name)))
