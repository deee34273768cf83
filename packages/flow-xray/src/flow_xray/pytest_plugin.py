"""The pytest fixture `xray_golden`: fail a test when what it recorded differs from a golden trace.

    def test_agent(xray_golden):
        with xray_golden("agent", max_tokens_increase="10%"):
            agent("What is new?")

`pytest --xray-update` writes the goldens, into `goldens/` beside the test file. This module loads nothing of flow_xray
before a test asks for the fixture. PYTEST_DONT_REWRITE
"""

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from flow_xray import Session, TraceResult
    from flow_xray._gate import Allowed, Verdict

__all__ = ["XrayGolden"]

_PROPERTY = "xray_golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--xray-update`."""
    group = parser.getgroup("flow-xray", "golden traces")
    group.addoption(
        "--xray-update", action="store_true", help="write the golden traces that are missing or do not match"
    )


@pytest.fixture
def xray_golden(request: pytest.FixtureRequest) -> "XrayGolden":
    """Compare what a test records with a golden trace; see `XrayGolden`."""
    return XrayGolden(
        folder=request.path.parent / "goldens",
        default_name=f"{request.path.stem}.{request.node.nodeid.partition('::')[2]}",
        owner=request.node.nodeid,
        is_update=bool(request.config.getoption("--xray-update")),
        note=lambda text: request.node.user_properties.append((_PROPERTY, text)),
        owners=request.config.stash.setdefault(_OWNERS, {}),
    )


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say which goldens were written; the facts come with the reports, also from the workers of xdist."""
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

    The golden is `goldens/<name>.json` beside the test file. Without a name it is called as the test. When the gate
    does not pass, the test fails with the difference, and `goldens/<name>.diff.html` shows it.
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
        self._right: set[Path] = set()  # goldens that this test has written or met

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
            name: of the golden file.
            redact: rules beside the built-in ones, as in `trace.capture`.
            **options: those of `check`.
        """
        from flow_xray import trace

        path, _ = self._path(name), _limits(_limits_in(options))  # what is wrong here is said before anything runs
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
        """Compare a trace with its golden; fail the test when the gate does not pass.

        Args:
            result: what was recorded.
            name: of the golden file.
            max_tokens_increase: "10%", or a number of tokens; max_cost_increase in USD, max_duration_increase in ms.
            max_cost_increase: as said.
            max_duration_increase: as said.
            max_calls_increase: as said.
            ignore: members that do not count, at any depth; also "input", "output", "error", "status", "meta".
            limits_only: let changed calls pass.
        """
        __tracebackhide__ = True
        from flow_xray._gate import judge, write_golden

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
                    f"there is no golden trace {_shown(path)}: run `pytest --xray-update` once, keep what it writes.",
                    pytrace=False,
                )
            write_golden(str(path), new)
            self._right.add(path)
            self._note(f"new: {_shown(path)}")
            return
        verdict = judge(_read(path).priced(), new, limits=limits, ignore=ignore, limits_only=limits_only)
        if verdict.is_passed:
            self._right.add(path)
            page.unlink(missing_ok=True)
            return
        if self._is_update and path not in self._right:
            write_golden(str(path), new)
            self._right.add(path)
            page.unlink(missing_ok=True)
            self._note(f"written anew: {_shown(path)}")
            return
        advice = "If this is what you want, run `pytest --xray-update`."
        if path in self._right:
            advice = "An earlier recording of this test is that golden; give this one a name of its own."
        pytest.fail(
            f"the run differs from {_shown(path)}\n{verdict.to_text()}\npage: {_written(verdict, page)}\n{advice}",
            pytrace=False,
        )

    def _path(self, name: str | None) -> Path:
        """Return where the golden is; refuse a name that is no file name, and one that another test uses."""
        given = self._default_name if name is None else name
        if not re.fullmatch(r"\w[\w .\[\]=+-]*", given) or given.endswith("."):
            raise ValueError(f"cannot use {name!r} as the name of a golden: because it is no file name. Give letters.")
        path = self._folder / f"{given}.json"
        other = self._owners.setdefault(path, self._owner)
        if other != self._owner:
            raise ValueError(f"cannot use {given!r} here: because {other} has a golden of this name. Give another one.")
        return path


_OWNERS: "pytest.StashKey[dict[Path, str]]" = pytest.StashKey()


def _limits_in(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: options.get(f"max_{name}_increase") for name in ("calls", "tokens", "cost", "duration")}


def _limits(given: Mapping[str, str | float | None]) -> "dict[str, Allowed]":
    from flow_xray._gate import Allowed

    return {name: Allowed.of(limit) for name, limit in given.items() if limit is not None}


def _written(verdict: "Verdict", page: Path) -> str:
    """Write the page of a difference and return where it is, or why it is nowhere: the test fails by the difference."""
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
    pytest.fail(  # outside of the except: else pytest shows the chain of the errors
        f"cannot read the golden trace {_shown(path)}: {trouble} Or write it anew: delete it and run "
        "`pytest --xray-update`.",
        pytrace=False,
    )


def _shown(path: Path) -> str:
    """Return a path as short as it can be given to a command."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
