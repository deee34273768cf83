"""The pytest fixture `xray_golden`: fail a test when its trace differs from a golden trace.

    def test_agent(xray_golden):
        with xray_golden("agent", max_tokens_increase="10%"):
            agent("What is new?")

`pytest --update-goldens` writes the golden traces, into `goldens/` beside the test file. This
module loads nothing of flow_xray before a test uses the fixture. PYTEST_DONT_REWRITE
"""

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from flow_xray import Session, TraceResult
    from flow_xray._compare.golden import Allowed, Verdict

__all__ = ["XrayGolden"]

_PROPERTY = "xray_golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--update-goldens`, unless another plugin of the stack has added it."""
    with suppress(ValueError):
        parser.getgroup("goldens", "golden files").addoption(
            "--update-goldens", action="store_true", help="write the golden files that are missing or do not match"
        )


@pytest.fixture
def xray_golden(request: pytest.FixtureRequest) -> "XrayGolden":
    """Compare the trace of a test with a golden trace; see `XrayGolden`."""
    return XrayGolden(
        folder=request.path.parent / "goldens",
        default_name=f"{request.path.stem}.{request.node.nodeid.partition('::')[2]}",
        owner=request.node.nodeid,
        is_update=bool(request.config.getoption("--update-goldens")),
        note=lambda text: request.node.user_properties.append((_PROPERTY, text)),
        owners=request.config.stash.setdefault(_OWNERS, {}),
    )


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """List the golden traces that were written.

    Reports carry them, also from the workers of xdist.
    """
    written = [
        text
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for key, text in getattr(report, "user_properties", ())
        if key == _PROPERTY
    ]
    if written:
        terminalreporter.section("golden traces", sep="-")
        for text in sorted(written):
            terminalreporter.write_line(text)


class XrayGolden:
    """Record and compare: `with xray_golden("name"): ...`, or `xray_golden.check(result, "name")`.

    The golden trace is `goldens/<name>.json` next to the test file; the default name is that of the
    test. When the check fails, the test fails with the difference, and
    `goldens/<name>.diff.html` shows it.
    """

    def __init__(
        self,
        *,
        folder: Path,
        default_name: str,
        owner: str,
        is_update: bool,
        note: Any,
        owners: dict[Path, str],
    ) -> None:
        self._folder = folder
        self._default_name = re.sub(r"[^\w.-]+", "-", default_name).strip("-")
        self._owner = owner
        self._is_update = is_update
        self._note = note
        self._owners = owners
        self._matched: set[Path] = set()  # golden traces that this test has written or matched

    @contextmanager
    def __call__(
        self,
        name: str | None = None,
        *,
        redact: Any = None,
        **options: Any,
    ) -> "Iterator[Session]":
        """Record the `with` block and compare it; a block that raises is not compared.

        Args:
            name: The name of the golden trace.
            redact: Rules in addition to the built-in ones, as in `trace.capture`.
            **options: Those of `check`.
        """
        from flow_xray import trace

        path, _ = self._path(name), _limits(_limits_in(options))  # raises for invalid arguments before anything runs
        with trace.capture(name=path.stem, redact=redact) as session:
            yield session
        self.check(session.result(), name, **options)

    def check(
        self,
        result: "TraceResult",
        name: str | None = None,
        *,
        max_tokens_increase: str | float | None = None,
        max_cost_increase: str | float | None = None,
        max_duration_increase: str | float | None = None,
        max_calls_increase: str | float | None = None,
        ignore: Collection[str] = (),
        limits_only: bool = False,
    ) -> None:
        """Compare a trace with its golden trace; fail the test when the check fails.

        Args:
            result: The trace.
            name: The name of the golden trace.
            max_tokens_increase: The allowed increase of the tokens: "10%", or a number.
            max_cost_increase: The same for the cost; a number is in USD.
            max_duration_increase: The same for the duration; a number is in ms.
            max_calls_increase: The same for the number of calls.
            ignore: Members to leave out, at any depth; also "input", "output", "error", "status",
                "meta".
            limits_only: Ignore changed calls.
        """
        __tracebackhide__ = True
        from flow_xray._compare.golden import check_against, write_golden

        path = self._path(name)
        limits = _limits(
            {
                "calls": max_calls_increase,
                "tokens": max_tokens_increase,
                "cost": max_cost_increase,
                "duration": max_duration_increase,
            }
        )
        new = result.priced()
        page = path.with_suffix(".diff.html")
        if not path.exists():
            if not self._is_update:
                pytest.fail(
                    f"there is no golden trace {_shown(path)}: run `pytest --update-goldens` once, "
                    "and commit what it writes.",
                    pytrace=False,
                )
            write_golden(str(path), new)
            self._matched.add(path)
            self._note(f"new: {_shown(path)}")
            return
        verdict = check_against(_read(path).priced(), new, limits=limits, ignore=ignore, limits_only=limits_only)
        if verdict.is_passed:
            self._matched.add(path)
            page.unlink(missing_ok=True)
            return
        if self._is_update and path not in self._matched:
            write_golden(str(path), new)
            self._matched.add(path)
            page.unlink(missing_ok=True)
            self._note(f"updated: {_shown(path)}")
            return
        advice = "To accept the new run, use `pytest --update-goldens`."
        if path in self._matched:
            advice = "An earlier recording of this test has this golden trace; give this one another name."
        pytest.fail(
            f"the run differs from {_shown(path)}\n{verdict.to_text()}\npage: {_written(verdict, page)}\n{advice}",
            pytrace=False,
        )

    def _path(self, name: str | None) -> Path:
        """Return the path of the golden trace.

        Refuse a name that is not a file name or that another test uses.
        """
        given = self._default_name if name is None else name
        if not re.fullmatch(r"\w[\w .\[\]=+-]*", given) or given.endswith("."):
            raise ValueError(
                f"cannot use {name!r} as the name of a golden trace: because it is not a file name. "
                "Give letters, digits, spaces, dots or hyphens."
            )
        path = self._folder / f"{given}.json"
        other = self._owners.setdefault(path, self._owner)
        if other != self._owner:
            raise ValueError(
                f"cannot use {given!r} here: because {other} has a golden trace of this name. Give another one."
            )
        return path


_OWNERS: "pytest.StashKey[dict[Path, str]]" = pytest.StashKey()


def _limits_in(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: options.get(f"max_{name}_increase") for name in ("calls", "tokens", "cost", "duration")}


def _limits(given: Mapping[str, str | float | None]) -> "dict[str, Allowed]":
    from flow_xray._compare.golden import Allowed

    return {name: Allowed.of(limit) for name, limit in given.items() if limit is not None}


def _written(verdict: "Verdict", page: Path) -> str:
    """Write the page of a difference; return its path, or why it could not be written."""
    from flow_xray import FlowXrayError

    try:
        verdict.diff.to_html(page)
    except FlowXrayError as error:
        return f"none, {error}"
    return str(page)


def _read(path: Path) -> "TraceResult":
    from flow_xray import FlowXrayError, TraceResult

    try:
        return TraceResult.from_json(path.read_bytes())
    except FlowXrayError as error:
        trouble = str(error)
    pytest.fail(  # outside of the except block, so that pytest does not show a chain of errors
        f"cannot read the golden trace {_shown(path)}: {trouble} Or delete it and run `pytest --update-goldens`.",
        pytrace=False,
    )


def _shown(path: Path) -> str:
    """Return a path relative to the working folder when it is inside."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
