"""Names of files that steer tools: who changes them decides what other programs do later.

In the mode `edits`, changes of these files still need approval. The rule is short on purpose: every
name that begins with a dot (CI, editors, git, shells, agents and package managers keep their
settings there), and the names below. Which files the *tests* load without being asked is in
`TEST_STEERING`; trust in a workspace is bound to their bytes (`workspace_trust`).
"""

import os
import unicodedata
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

TEST_STEERING: Final = (
    *("conftest.py", "pytest.ini", ".pytest.ini", "pyproject.toml", "setup.cfg", "tox.ini", "noxfile.py"),
    *("sitecustomize.py", "usercustomize.py", "*.pth", "pyvenv.cfg"),
    *("makefile", "gnumakefile", "justfile", "package.json"),
)
_NAMES: Final = (
    *TEST_STEERING,
    *("setup.py", "*.mk", "rakefile", "gruntfile.*", "gulpfile.*", "build.gradle*", "pom.xml"),
    *("loom*.toml", "*.rules.yaml", "*.rules.yml", "tokens.toml", "mcp.json"),
    *("jenkinsfile*", "azure-pipelines*", "bitbucket-pipelines*", "appveyor.yml", "cloudbuild.yaml", "buildspec.yml"),
    *("agents.md", "agents.override.md", "claude.md", "claude.local.md", "gemini.md"),
    *("lefthook.yml", "dockerfile*", "docker-compose*", "compose.y*ml", "*.code-workspace"),
)
_FOLDERS: Final = ("runbooks", "site-packages", "node_modules", "venv")
_HARMLESS: Final = (".gitignore", ".gitkeep", ".editorconfig", ".dockerignore")


def steers_tools(parts: tuple[str, ...]) -> bool:
    """Report whether a relative path names a file that steers tools."""
    folded = [unicodedata.normalize("NFKC", part).casefold().rstrip(". ") for part in parts]
    return bool(folded) and (
        any((part.startswith(".") and part not in _HARMLESS) or part in _FOLDERS for part in folded)
        or any(part.endswith((".egg-info", ".dist-info")) for part in folded)
        or any(fnmatchcase(folded[-1], pattern) for pattern in _NAMES)
    )


def is_user_configuration(real: Path) -> bool:
    """Report whether a path without links is in the folder of the user's settings."""
    home = Path(os.path.realpath(os.path.expanduser("~")))  # noqa: PTH111  (Path.home raises without a home)
    named = os.environ.get("XDG_CONFIG_HOME"), os.environ.get("APPDATA")
    places = [home / ".config", home / "Library" / "Application Support", *(Path(name) for name in named if name)]
    return any(real.is_relative_to(os.path.realpath(place)) for place in places)
