"""A file of a project is trusted only after the user trusted exactly these bytes."""

from pathlib import Path

import pytest
from loom_agents import AgentError
from loom_agents._workspace.trusted_files import TrustedFiles


def test_trust_is_valid_for_one_file_with_its_bytes(tmp_path: Path) -> None:
    trusted, file = TrustedFiles(tmp_path / "new" / "trust.json"), tmp_path / ".mcp.json"
    assert not trusted.trusts(file, "aa")
    trusted.trust(file, "aa")
    assert trusted.trusts(file, "aa")
    assert not trusted.trusts(file, "bb")
    assert not trusted.trusts(tmp_path / "other.json", "aa")
    assert trusted.knows(file)


def test_trust_of_other_files_is_kept(tmp_path: Path) -> None:
    trusted = TrustedFiles(tmp_path / "trust.json")
    trusted.trust(tmp_path / "a", "aa")
    trusted.trust(tmp_path / "b", "bb")
    assert trusted.trusts(tmp_path / "a", "aa")
    assert [file.name for file in tmp_path.iterdir()] == ["trust.json"]


def test_a_link_is_trusted_as_its_target(tmp_path: Path) -> None:
    trusted = TrustedFiles(tmp_path / "trust.json")
    (tmp_path / "real").touch()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    trusted.trust(tmp_path / "link", "aa")
    assert trusted.trusts(tmp_path / "real", "aa")


def test_a_damaged_file_trusts_nothing(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"files": 3}', "\0"):
        (tmp_path / "trust.json").write_text(text)
        trusted = TrustedFiles(tmp_path / "trust.json")
        assert not trusted.trusts(tmp_path / "a", "aa")
    trusted.trust(tmp_path / "a", "aa")
    assert trusted.trusts(tmp_path / "a", "aa")


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    trusted = TrustedFiles(tmp_path / "file" / "loom" / "trust.json")
    with pytest.raises(AgentError, match=r"cannot store what you trust in .*: not a directory\. Set XDG_CONFIG_HOME"):
        trusted.trust(tmp_path / "a", "aa")
