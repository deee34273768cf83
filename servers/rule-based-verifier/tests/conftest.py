import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from loom_agents.workspace import Workspace
from rule_based_verifier import Settings
from rule_based_verifier.gates.trusting import RootTrust

FILES = {
    "pyproject.toml": "[tool.pytest.ini_options]\n",
    "shop.py": (
        "def price(item, *, rate=2):\n    return base(item) * rate\n\n\n"
        "def base(item):\n    if item == 'none':\n        raise KeyError(item)\n    return len(item)\n\n\n"
        "def counted(n):\n    yield from range(n)\n\n\n"
        "async def later(item):\n    return base(item)\n\n\n"
        "def hang():\n    base('x')\n    while True:\n        pass\n\n\n"
        "class Till:\n    def __init__(self):\n        self.sum = 0\n\n    @staticmethod\n    def open():\n        return Till().add(3)\n\n"
        "    def add(self, amount):\n        self.sum += amount\n        return self.sum\n"
    ),
    "test_shop.py": (
        "import pytest\nimport shop\n\n\ndef test_price():\n    assert shop.price('pen') == 6\n\n\n"
        "@pytest.mark.parametrize('n', [1, 2])\ndef test_counted(n):\n    assert len(list(shop.counted(n))) == n\n"
    ),
}


def make_root(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder


def trusted(settings: Settings) -> Settings:
    """Trust the root as it is."""
    trust = RootTrust(settings, Workspace.at(settings.root))
    trust.trust(trust.steering())
    return settings


def left_processes(mark: str) -> list[str]:
    """Return the processes whose command line has this mark."""
    out = subprocess.run(["ps", "-eo", "pid,args"], check=True, capture_output=True, text=True).stdout
    return [line for line in out.splitlines() if mark in line and "ps -eo" not in line]


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Settings]:
    """Make a root with files and trust it."""

    def build(files: dict[str, str], *, trust: bool = True, **more: object) -> Settings:
        root = make_root(tmp_path / "root", files)
        settings = Settings(root.resolve(), trust_file=tmp_path / "trust.json", scratch=tmp_path, **more)
        return trusted(settings) if trust else settings

    return build


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A trusted root with a small module and its tests, shared by the tests of a file."""
    folder = tmp_path_factory.mktemp("shop")
    root = make_root(folder / "root", FILES)
    return trusted(Settings(root.resolve(), trust_file=folder / "trust.json", scratch=folder))


def run(coroutine):
    return asyncio.run(coroutine)
