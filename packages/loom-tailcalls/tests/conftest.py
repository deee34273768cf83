"""Mark what depends on the Python version: the compiler reads and writes bytecode, so almost every
test does.
"""

from pathlib import Path

import pytest

HERE = Path(__file__).parent
INDEPENDENT = {
    "test_codes.py",  # tables and the text of the sources
    "test_errors.py",  # texts and pickling
    "test_init.py",
    "test_layers.py",  # import-linter
    "test_mutants.py",  # tests the corpus, not the compiler
    "test_options.py",
    "test_typing.py",  # mypy and pyright
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder; `items` holds those of the whole session."""
    for item in items:
        if item.path.is_relative_to(HERE) and item.path.name not in INDEPENDENT:
            item.add_marker(pytest.mark.interpreter)
