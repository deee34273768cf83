"""The committed bundle matches its source: a new build has the same bytes."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2]
BUILD = PACKAGE.parents[1] / "tools" / "build_page.mjs"
VIEWER = PACKAGE / "viewer"
BUNDLE = PACKAGE / "src" / "flow_xray" / "_write" / "page"


def test_the_bundle_can_be_embedded_in_a_page():
    script = (BUNDLE / "viewer.js").read_text(encoding="ascii")
    style = (BUNDLE / "viewer.css").read_text(encoding="utf-8")
    assert "</script" not in script.lower()
    assert "<!--" not in script
    assert "</style" not in style.lower()
    assert "@import" not in style
    assert "url(" not in style


def test_the_viewer_never_writes_markup():
    for source in (VIEWER / "src").glob("*.ts*"):
        assert not re.search(
            r"innerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", source.read_text()
        ), source


def test_the_lock_file_has_no_download_address():
    lock = json.loads((VIEWER / "package-lock.json").read_text())
    assert all("resolved" not in package for package in lock["packages"].values())
    assert lock["packages"][""]["dependencies"].keys() == {"@dagrejs/dagre", "preact"}


@pytest.fixture(scope="session")
def viewer(tmp_path_factory):
    """Return the viewer's folder with its tools installed: itself, or a copy after `npm ci`."""
    if (VIEWER / "node_modules").is_dir():
        return VIEWER
    root = tmp_path_factory.mktemp("bundle") / "viewer"
    shutil.copytree(VIEWER, root)
    subprocess.run(["npm", "ci", "--silent"], cwd=root, check=True, timeout=150)
    return root


@pytest.mark.needs("node")
def test_a_new_build_is_the_committed_bundle_and_the_types_hold(tmp_path, request):
    root = request.getfixturevalue("viewer")  # not before it is known that node is here
    subprocess.run(["node", str(BUILD), str(root), str(tmp_path / "out")], check=True, timeout=60)
    for name in ("viewer.js", "viewer.css", "viewer_licenses.txt"):
        assert (tmp_path / "out" / name).read_bytes() == (BUNDLE / name).read_bytes(), f"{name} is stale: npm run build"
    subprocess.run(["node_modules/.bin/tsc", "--noEmit"], cwd=root, check=True, timeout=60)


LAYOUTS = """
import { place } from "./src/layout";
const random = (seed) => () => (seed = (seed * 1103515245 + 12345) & 0x7fffffff) / 0x7fffffff;
for (let seed = 1; seed <= 120; seed++) {
  const next = random(seed * 7919);
  const size = 2 + Math.floor(next() * 40);
  const nodes = Array.from({ length: size }, (_, k) => ({ key: `${k}`, label: `name ${k}`, note: "1 call" }));
  const edges = new Map();
  for (let k = next() * 50; k > 0; k--) {
    const [from, to] = [Math.floor(next() * size), Math.floor(next() * size)];
    if (from !== to) edges.set(from * size + to, { from, to, calls: 1 + Math.floor(next() * next() * 9000), style: "executed" });
  }
  const placed = place(nodes, [...edges.values()]);
  const numbers = [placed.width, placed.height, ...placed.x, ...placed.y, ...placed.paths.flat().flatMap((each) => [each.x, each.y])];
  if (placed.paths.length !== edges.size || !numbers.every((each) => Number.isFinite(each) && each >= 0)) throw new Error(`seed ${seed}`);
}
"""


@pytest.mark.needs("node")
@pytest.mark.parametrize("dagre", ["as it is", "broken"])
def test_every_graph_finds_a_layout(tmp_path, dagre, request):
    """120 graphs with cycles and several parts; without dagre they are in columns."""
    root = request.getfixturevalue("viewer")
    (tmp_path / "broken.js").write_text("export const graphlib = {}; export function layout() {}")
    instead = [f"--alias:@dagrejs/dagre={tmp_path / 'broken.js'}"] if dagre == "broken" else []
    bundle = ["node_modules/.bin/esbuild", "--bundle", "--platform=node", "--loader=ts", *instead]
    built = subprocess.run(bundle, cwd=root, input=LAYOUTS, capture_output=True, text=True, check=True, timeout=60)
    subprocess.run(["node", "-"], input=built.stdout, text=True, check=True, timeout=60)


def luminance(colour):
    digits = colour.lstrip("#")
    digits = digits if len(digits) == 6 else "".join(each * 2 for each in digits)
    parts = [int(digits[k : k + 2], 16) / 255 for k in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1, 2], ids=["light", "dark by the system", "dark by choice"])
def test_every_text_colour_has_enough_contrast_on_its_background(theme):
    """WCAG 2.2, contrast (minimum): 4.5 to 1."""
    block = re.findall(r":root[^{]*\{([^}]*)\}", (VIEWER / "src" / "style.css").read_text())[theme]
    colours = dict(re.findall(r"--([\w-]+): (#\w+)", block))
    for name in (
        "ink",
        "mute",
        "faint",
        "accent",
        "agent",
        "llm",
        "tool",
        "step",
        "function",
        "wait",
        "retrieval",
        "other",
        "bad",
        "good",
    ):
        for ground in ("panel", "bg"):
            lighter, darker = sorted((luminance(colours[name]), luminance(colours[ground])), reverse=True)
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, f"{name} on {ground}"
