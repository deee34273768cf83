"""Names of files that steer tools: who changes them decides what other programs do later.

In the mode `edits`, changes of these files still need approval. The rule is short on purpose: every
name that begins with a dot (CI, editors, git, shells, agents and package managers keep their
settings there), and the names below. Which files the *tests* load without being asked is in
`TEST_STEERING`; trust in a workspace is bound to their bytes (`workspace_trust`).
"""

import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from loom_agents._workspace.secret_names import folded_name

TEST_STEERING: Final = (
    *("conftest.py", "pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml", "pyproject.toml", "setup.cfg"),
    *("tox.ini", "tox.toml", "noxfile.py", ".coveragerc"),
    *("sitecustomize.py", "usercustomize.py", "*.pth", "pyvenv.cfg"),
    *("makefile", "gnumakefile", "justfile", "package.json"),
)
_NAMES: Final = (
    *TEST_STEERING,
    *("setup.py", "*.mk", "rakefile", "gruntfile.*", "gulpfile.*", "build.gradle*", "settings.gradle*", "pom.xml"),
    *("tasks.py", "fabfile.py", "dodo.py", "hatch_build.py", "taskfile.y*ml", "procfile", "vagrantfile", "tiltfile"),
    *("*.config.js", "*.config.[cm]js", "*.config.ts", "*.config.[cm]ts", "cmakelists.txt", "meson.build", "build.rs"),
    *("cargo.toml", "gemfile", "composer.json", "workspace", "*.bazel", "*.bzl", "gradlew", "mvnw", "*.nix"),
    *("requirements*.txt", "pipfile", "mise.toml", "brewfile", "renovate.json", "crontab", "*.service"),
    *("loom*.toml", "*.rules.yaml", "*.rules.yml", "*.rules.toml", "tokens.toml", "*mcp.json", "*mcp_*.json"),
    *("opencode.json", "conventions.md", "copilot-instructions.md"),
    *("jenkinsfile*", "azure-pipelines*", "bitbucket-pipelines*", "appveyor.yml", "cloudbuild.yaml", "buildspec.yml"),
    *("agents.md", "agents.override.md", "claude.md", "claude.local.md", "gemini.md"),
    *("lefthook.yml", "dockerfile*", "docker-compose*", "compose.y*ml", "*.code-workspace"),
)
_FOLDERS: Final = ("*runbooks", "site-packages", "node_modules", "venv", "husky")
_HARMLESS: Final = (".gitignore", ".gitkeep", ".editorconfig", ".dockerignore")


def steers_tools(parts: tuple[str, ...]) -> bool:
    """Report whether a relative path names a file that steers tools."""
    folded = [folded_name(part) for part in parts]
    return bool(folded) and (
        any((part.startswith(".") and part not in _HARMLESS) for part in folded)
        or any(fnmatchcase(part, pattern) for part in folded for pattern in _FOLDERS)
        or any(part.endswith((".egg-info", ".dist-info")) for part in folded)
        or any(fnmatchcase(folded[-1], pattern) for pattern in _NAMES)
    )


def is_user_configuration(real: Path) -> bool:
    """Report whether a path without links is in the folder of the user's settings."""
    home = Path(os.path.realpath(os.path.expanduser("~")))  # noqa: PTH111  (Path.home raises without a home)
    named = os.environ.get("XDG_CONFIG_HOME"), os.environ.get("APPDATA")
    places = [home / ".config", home / "Library" / "Application Support", *(Path(name) for name in named if name)]
    return any(real.is_relative_to(os.path.realpath(place)) for place in places)
