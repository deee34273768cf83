"""Deterministic checks of a repository: tests, linters, reads, searches and traces.

    from rule_based_verifier import load_settings, run_tests

    result = await run_tests(load_settings(root="."), ["-k", "parser"])
    result.verdict      # "pass", "fail" or "cannot_tell"

The functions are plain: `run_tests`, `run_lint`, `read_repo_file`, `search_codebase`,
`semantic_trace`, `verifier_health`. `build_server` offers them over the Model Context Protocol; the
command `rule-based-verifier` serves that.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rule_based_verifier._errors import ArgumentError, SettingsError
    from rule_based_verifier.gates.gates import run_lint, run_tests
    from rule_based_verifier.gates.verdicts import Evidence, GateResult
    from rule_based_verifier.health import verifier_health
    from rule_based_verifier.reading import read_repo_file, search_codebase
    from rule_based_verifier.server import build_server
    from rule_based_verifier.settings import Settings, load_settings
    from rule_based_verifier.tracing.traces import SemanticTrace, semantic_trace

__all__ = [
    "ArgumentError",
    "Evidence",
    "GateResult",
    "SemanticTrace",
    "Settings",
    "SettingsError",
    "build_server",
    "load_settings",
    "read_repo_file",
    "run_lint",
    "run_tests",
    "search_codebase",
    "semantic_trace",
    "verifier_health",
]

_HOME = {
    "Evidence": "gates.verdicts",
    "GateResult": "gates.verdicts",
    "ArgumentError": "_errors",
    "SemanticTrace": "tracing.traces",
    "Settings": "settings",
    "SettingsError": "_errors",
    "build_server": "server",
    "load_settings": "settings",
    "read_repo_file": "reading",
    "run_lint": "gates.gates",
    "run_tests": "gates.gates",
    "search_codebase": "reading",
    "semantic_trace": "tracing.traces",
    "verifier_health": "health",
}
"""The module that defines each public name; imported at the first access, so that `--help` loads
none of them."""


def __getattr__(name: str) -> Any:
    from importlib import import_module

    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
