import re
from pathlib import Path

import docs_memory_mcp
import pytest
from docs_memory_mcp import SettingsError, load_settings


@pytest.mark.parametrize(
    ("arguments", "environment", "text"),
    [
        ({"root": "/nonexistent"}, {}, "not a folder"),
        ({}, {"DOCS_ROOT": "/nonexistent"}, "DOCS_ROOT"),
        ({"chunk_size": 99}, {}, "CHUNK_SIZE is at least 100"),
        ({"chunk_size": 200, "chunk_overlap": 101}, {}, "at most half"),
        ({"chunk_overlap": -1}, {}, "at most half"),
        ({"top_k": 51}, {}, "1 to 50"),
        ({}, {"RAG_TOP_K": "many"}, "RAG_TOP_K='many': it is not a whole number"),
        ({}, {"CHUNK_SIZE": "1e3"}, "not a whole number"),
        ({"db": "a.sqlite", "memory_db": "a.sqlite"}, {}, "one file"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(
    arguments: dict[str, object], environment: dict[str, str], text: str
) -> None:
    with pytest.raises(SettingsError, match=re.escape(text)):
        load_settings(**arguments, environment=environment)


def test_arguments_come_before_the_environment(tmp_path: Path) -> None:
    environment = {
        "DOCS_ROOT": str(tmp_path),
        "DOCS_DB": str(tmp_path / "i.db"),
        "OLLAMA_HOST": "http://127.0.0.1:1",
        "EMBED_MODEL": "nomic-embed-text",
        "CHUNK_SIZE": "500",
        "CHUNK_OVERLAP": "50",
        "RAG_TOP_K": "3",
    }
    settings = load_settings(top_k=5, environment=environment)
    assert (settings.root, settings.db) == (tmp_path.resolve(), tmp_path / "i.db")
    assert settings.memory_db == tmp_path / "i-memory.sqlite"
    assert (settings.embed_url, settings.embed_model) == ("http://127.0.0.1:1", "nomic-embed-text")
    assert (settings.chunk_size, settings.chunk_overlap, settings.top_k) == (500, 50, 5)


def test_each_root_has_files_of_its_own_outside_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "a" / "docs").mkdir(parents=True)
    (tmp_path / "b" / "docs").mkdir(parents=True)
    one, two = (load_settings(root=tmp_path / name / "docs", environment={}) for name in "ab")
    assert one.db.parent != two.db.parent and one.db.is_relative_to(tmp_path / "state")
    assert (one.db.name, one.memory_db) == ("index.sqlite", one.db.with_name("memory.sqlite"))


def test_without_a_home_the_settings_ask_for_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr("platformdirs.user_state_path", fail)
    with pytest.raises(SettingsError, match="--db"):
        load_settings(root=tmp_path, environment={})
    assert load_settings(root=tmp_path, db=tmp_path / "x", environment={}).db == tmp_path / "x"


def test_every_public_name_can_be_used() -> None:
    assert set(docs_memory_mcp.__all__) <= set(dir(docs_memory_mcp))
    for name in docs_memory_mcp.__all__:
        assert getattr(docs_memory_mcp, name).__module__.startswith("docs_memory_mcp.")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        docs_memory_mcp.nothing  # noqa: B018 - the access is the test
