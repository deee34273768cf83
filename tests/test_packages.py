"""Every package of the workspace imports, and offers what its list of public names says."""

import importlib
from pathlib import Path

import pytest
import workspace

PACKAGES = workspace.packages(Path(__file__).resolve().parent.parent)


def test_the_nine_packages_are_found() -> None:
    assert len(PACKAGES) == 9


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_a_package_offers_its_public_names(package: workspace.Package) -> None:
    module = importlib.import_module(package.name)

    assert module.__doc__
    assert all(getattr(module, name) is not None for name in module.__all__)
