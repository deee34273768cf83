"""The committed page matches its source: a new build is the same, byte for byte."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2]
BUILD = PACKAGE.parents[1] / "tools" / "build_page.mjs"
PAGE = PACKAGE / "page"
BUNDLE = PACKAGE / "src" / "loom_agents" / "_serve"


def test_the_page_never_writes_markup_and_loads_nothing() -> None:
    for source in (PAGE / "src").glob("*.ts*"):
        assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", source.read_text())
    script, style = ((BUNDLE / name).read_text(encoding="utf-8") for name in ("page.js", "page.css"))
    assert script.isascii()
    assert set(re.findall(r"https?://[\w./]+", script)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1998/Math/MathML",
        "http://www.w3.org/1999/xhtml",
    }
    assert "@import" not in style
    assert "url(" not in style


def test_the_lock_file_names_no_registry() -> None:
    lock = json.loads((PAGE / "package-lock.json").read_text())
    assert all("resolved" not in package for package in lock["packages"].values())
    assert lock["packages"][""]["dependencies"].keys() == {"preact"}


@pytest.mark.needs("node")
def test_a_new_build_is_the_committed_bundle_and_passes_the_type_check(tmp_path: Path) -> None:
    root = PAGE
    if not (PAGE / "node_modules").is_dir():
        root = tmp_path / "page"
        shutil.copytree(PAGE, root)
        subprocess.run(["npm", "ci", "--silent"], cwd=root, check=True, timeout=150)
    subprocess.run(["node", str(BUILD), str(root), str(tmp_path / "out")], check=True, timeout=60)
    for name in ("page.js", "page.css"):
        assert (tmp_path / "out" / name).read_bytes() == (BUNDLE / name).read_bytes(), f"{name} is stale: npm run build"
    subprocess.run(["node_modules/.bin/tsc", "--noEmit"], cwd=root, check=True, timeout=60)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_every_text_colour_has_enough_contrast_with_its_background(theme: int) -> None:
    """WCAG 2.2, contrast (minimum): 4.5 to 1."""
    block = re.findall(r":root \{([^}]*)\}", (PAGE / "src" / "style.css").read_text())[theme]
    colours = dict(re.findall(r"--([\w-]+): (#\w+)", block))
    for name in ("ink", "mute", "accent", "bad", "good", "wait"):
        for background in ("panel", "bg"):
            lighter, darker = sorted((_luminance(colours[name]), _luminance(colours[background])), reverse=True)
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, f"{name} on {background}"


def _luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = digits if len(digits) == 6 else "".join(each * 2 for each in digits)
    parts = [int(digits[k : k + 2], 16) / 255 for k in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
