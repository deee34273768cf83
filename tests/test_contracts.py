"""Each contract of import-linter in pyproject.toml holds, and breaks when an import violates it.

The violations are made from the contracts themselves, so that a new contract is covered; one of a
type that is not known here fails.
"""

import itertools
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]


class Violation(NamedTuple):
    contract: dict[str, Any]
    imports: list[tuple[str, str]]  # importer, imported


def file_of(module: str, root: Path) -> Path:
    path = root.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def siblings(package: str) -> tuple[str, str]:
    """Two modules of the first folder below a package that has two; of the package itself if it is
    flat.
    """
    (source,) = ROOT.glob(f"[pas]*/*/src/{package}")
    for folder in (*sorted(path for path in source.rglob("*") if path.is_dir()), source):
        modules = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("__"))
        if len(modules) > 1:
            name = ".".join(folder.relative_to(source.parent).parts)
            return f"{name}.{modules[0]}", f"{name}.{modules[1]}"
    raise AssertionError(f"{package} has no folder with two modules")


def violations(contract: dict[str, Any]) -> Iterator[Violation]:
    match contract["type"]:
        case "layers":
            prefix = f"{contract['containers'][0]}." if "containers" in contract else ""
            layers = [[prefix + name.strip() for name in layer.split("|")] for layer in contract["layers"]]
            yield Violation(contract, [(layers[-1][0], layers[0][0])])  # the lowest imports the highest
            for layer in layers:
                yield from (Violation(contract, [pair]) for pair in itertools.pairwise(layer))
        case "forbidden":
            yield Violation(contract, [(contract["source_modules"][0], contract["forbidden_modules"][0])])
        case "acyclic_siblings":
            one, other = siblings(contract["ancestors"][0])
            yield Violation(contract, [(one, other), (other, one)])


VIOLATIONS = {contract["id"]: list(violations(contract)) for contract in SETTINGS["contracts"]}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages, with the contracts beside them."""
    root = tmp_path_factory.mktemp("packages")
    for source in ROOT.glob("[pas]*/*/src/*"):
        for module in source.rglob("*.py"):
            target = root / module.relative_to(source.parent)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(module.read_bytes())
    (root / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    return root


def lint(root: Path, contract: str | None = None) -> tuple[int, str]:
    """Exit code and output, without line breaks, of `lint-imports`: for one contract, or for
    all.
    """
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-logo", "--no-cache"]
    command += ["--contract", contract] if contract else []
    environment = {**os.environ, "PYTHONPATH": str(root), "COLUMNS": "200"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def test_every_contract_holds(copy: Path) -> None:
    code, output = lint(copy)

    assert code == 0, output
    assert f"Contracts: {len(SETTINGS['contracts'])} kept, 0 broken." in output


def test_every_contract_has_an_id_and_a_violation() -> None:
    assert len(VIOLATIONS) == len(SETTINGS["contracts"])
    assert [contract for contract, planted in VIOLATIONS.items() if not planted] == []


@pytest.mark.parametrize(
    "violation",
    [
        pytest.param(violation, id=f"{contract}: {' and '.join(f'{one} -> {two}' for one, two in violation.imports)}")
        for contract, planted in VIOLATIONS.items()
        for violation in planted
    ],
)
def test_a_violation_breaks_its_contract(copy: Path, violation: Violation) -> None:
    files = {file_of(importer, copy) for importer, _ in violation.imports}
    before = {path: path.read_text(encoding="utf-8") for path in files}
    try:
        for importer, imported in violation.imports:
            with file_of(importer, copy).open("a", encoding="utf-8") as file:
                file.write(f"\nimport {imported}\n")
        code, output = lint(copy, violation.contract["id"])
    finally:
        for path, text in before.items():
            path.write_text(text, encoding="utf-8")

    assert code == 1
    assert f"{violation.contract['name']} BROKEN" in output


@pytest.mark.parametrize(
    "contract",
    [contract for contract in SETTINGS["contracts"] if contract.get("exhaustive")],
    ids=lambda contract: contract["id"],
)
def test_a_module_in_no_layer_breaks_the_contract(copy: Path, contract: dict[str, Any]) -> None:
    stray = copy / contract["containers"][0] / "stray.py"
    stray.touch()
    try:
        code, output = lint(copy, contract["id"])
    finally:
        stray.unlink()

    assert code == 1
    assert "stray" in output
