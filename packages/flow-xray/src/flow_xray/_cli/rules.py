"""Shared by `stats`, `report` and `analyze`: options, custom rules, the analyzed trace."""

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from flow_xray._cli.base import files_exist, print_error, read_trace

if TYPE_CHECKING:
    from flow_xray._analysis.findings import Finding, Rule
    from flow_xray._result import TraceResult


def add_analysis_options(parser: argparse.ArgumentParser) -> None:
    """Add FILE, `--prices` and `--rule`."""
    parser.add_argument("file", metavar="FILE", nargs="+", help="a trace file, as for `flow-xray view`")
    parser.add_argument("--prices", metavar="FILE", help="a price file, as for `flow-xray view`")
    parser.add_argument(
        "--rule",
        metavar="FILE.py:NAME",
        action="append",
        default=[],
        help="a custom rule: a function that takes the SpanTree, as FILE.py:NAME or MODULE:NAME; repeatable",
    )


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add `--output`."""
    parser.add_argument("--output", choices=("text", "json"), default="text", help="the output format (default: text)")


def analyzed_trace(options: argparse.Namespace) -> "tuple[TraceResult, tuple[Finding, ...]] | None":
    """Read the trace, price it and analyze it.

    None when a file or a rule is missing; the error is printed.
    """
    if not files_exist(*options.file):
        return None
    rules: list[Rule] = []
    for given in options.rule:
        rule = _loaded(given)
        if rule is None:
            return None
        rules.append(rule)
    trace = read_trace(*options.file).priced(options.prices)
    return trace, trace.analyze(rules)


def _loaded(given: str) -> "Rule | None":
    """Load a rule, or print an error and return None."""
    location, _, name = given.rpartition(":")
    why = "it is not FILE.py:NAME or MODULE:NAME"
    if location and name:
        try:
            rule: Any = getattr(_module(location), name, None)
        except Exception as error:  # noqa: BLE001  a module of the user may raise anything while it is loaded
            why = f"{location} raised {type(error).__name__}: {error}"
        else:
            if callable(rule):
                found: Rule = rule
                return found
            why = f"{location} has no function of this name"
    print_error(f"cannot use the rule {given!r}: because {why}. Give a function, like rules.py:no_shell.")
    return None


def _module(location: str) -> object:
    import importlib.util

    if not location.endswith(".py"):
        sys.path.insert(0, os.getcwd())  # noqa: PTH109  pathlib costs 9 ms
        return importlib.import_module(location)
    spec = importlib.util.spec_from_file_location(f"flow_xray_rules_{abs(hash(location))}", location)
    if spec is None or spec.loader is None:
        raise ImportError(f"no module at {location}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
