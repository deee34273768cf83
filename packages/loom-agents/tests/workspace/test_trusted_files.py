"""A file of a project starts nothing before somebody has said so, for these bytes."""

from pathlib import Path

from loom_agents._workspace.trusted_files import TrustedFiles


def test_a_word_holds_for_one_file_with_these_bytes(tmp_path: Path) -> None:
    trusted, file = TrustedFiles(tmp_path / "new" / "trust.json"), tmp_path / ".mcp.json"
    assert not trusted.trusts(file, "aa")
    trusted.trust(file, "aa")
    assert trusted.trusts(file, "aa")
    assert not trusted.trusts(file, "bb")
    assert not trusted.trusts(tmp_path / "other.json", "aa")
    assert trusted.knows(file)


def test_words_about_other_files_stay(tmp_path: Path) -> None:
    trusted = TrustedFiles(tmp_path / "trust.json")
    trusted.trust(tmp_path / "a", "aa")
    trusted.trust(tmp_path / "b", "bb")
    assert trusted.trusts(tmp_path / "a", "aa")
    assert [file.name for file in tmp_path.iterdir()] == ["trust.json"]


def test_a_link_is_the_file_that_it_leads_to(tmp_path: Path) -> None:
    trusted = TrustedFiles(tmp_path / "trust.json")
    (tmp_path / "real").touch()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    trusted.trust(tmp_path / "link", "aa")
    assert trusted.trusts(tmp_path / "real", "aa")


def test_a_damaged_file_holds_no_words(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"files": 3}', "\0"):
        (tmp_path / "trust.json").write_text(text)
        trusted = TrustedFiles(tmp_path / "trust.json")
        assert not trusted.trusts(tmp_path / "a", "aa")
    trusted.trust(tmp_path / "a", "aa")
    assert trusted.trusts(tmp_path / "a", "aa")
