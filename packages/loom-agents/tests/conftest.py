"""What the tests of this package share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from loom_agents._workspace.jail import Workspace
from loom_agents.testing import FakeProvider


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Give a small project: a README, documents, code, tests, secrets, and links that lead out."""
    root = tmp_path / "project"
    for path, text in {
        "README.md": "# Sample\n\nA sample project about whales.\n\n## Resume\n\nA killed run goes on with `resume`.\n",
        "docs/guide.md": "# Guide\n\n## Install\n\nUse pip.\n\n## Whales\n\nWhales resume their songs.\nWhales sing.\n",
        "src/app.py": "def add(a, b):\n    return a + b\n",
        "tests/test_app.py": "def test_passes():\n    assert True\n",
        ".env": "TOKEN=hunter2\n",
        "config/.ENV": "TOKEN=hunter2\n",
        "keys/id_rsa": "PRIVATE\n",
        ".gitignore": "ignored/\n*.log\n!keep.log\n",
        "ignored/inside.md": "# Hidden whales\n",
        "a.log": "log\n",
        "keep.log": "log\n",
        "sub/.gitignore": "*.tmp\n",
        "sub/x.tmp": "x\n",
        "sub/y.txt": "y whales\n",
    }.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    outside = tmp_path / "outside.txt"
    outside.write_text("outside\n")
    (root / "link_out").symlink_to(outside)
    (root / "link_env").symlink_to(root / ".env")
    (root / "link_folder").symlink_to(tmp_path)
    (root / "link_in").symlink_to(root / "README.md")
    return Workspace.at(root)


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    """Give a fake provider that `openai-chat:` and `ollama:` are pointed at."""
    with FakeProvider.installed() as server:
        yield server
