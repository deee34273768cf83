from dataclasses import replace
from pathlib import Path

import pytest
from loom_ops._errors import LoomOpsError, RunbookError
from loom_ops._runbook.catalog import choose_runbook, find_runbook, known_runbooks, served_runbook
from loom_ops._site import Site

OWN = "---\ntitle: Coffee machine\nmatch: [coffee]\n---\n1. Descale it.\n"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "runbooks").mkdir()
    return Site(tmp_path, tmp_path / "rules.yaml", tmp_path / "runbooks")


def test_a_runbook_of_the_site_replaces_the_starter_of_the_same_name(site: Site) -> None:
    before = {source for source, _ in known_runbooks(site)}
    (site.runbooks / "disk-full.md").write_text(OWN)
    after = {source for source, _ in known_runbooks(site)}
    assert after - before == {"runbooks/disk-full.md"} and before - after == {"starter:disk-full.md"}
    assert find_runbook(site, "disk-full") == ("runbooks/disk-full.md", OWN)


def test_a_runbook_is_found_by_its_name_or_its_file(site: Site, tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text(OWN)
    assert find_runbook(site, "api-latency")[0] == "starter:api-latency.md"
    assert find_runbook(site, str(tmp_path / "other.md")) == (str(tmp_path / "other.md"), OWN)
    with pytest.raises(
        LoomOpsError, match="cannot find the runbook 'nope': there is none of that name. Known runbooks: api-latency, "
    ):
        find_runbook(site, "nope")


def test_the_runbook_with_most_words_of_the_incident_is_chosen(site: Site) -> None:
    (site.runbooks / "coffee.md").write_text(OWN)
    for incident, source in [
        ("incident: API latency", "starter:api-latency.md"),
        ("the disk is full!", "starter:disk-full.md"),
        ("No COFFEE.", "runbooks/coffee.md"),
        ("latency of the coffee machine", "runbooks/coffee.md"),
    ]:
        assert choose_runbook(site, incident)[0] == source


def test_the_names_in_the_error_can_be_used(site: Site) -> None:
    with pytest.raises(LoomOpsError) as caught:
        choose_runbook(site, "the coffee is cold")
    names = str(caught.value).rpartition("--runbook: ")[2].rstrip(".").split(", ")
    assert "api-latency" in names and all(find_runbook(site, name) for name in names)


def test_a_runbook_with_errors_is_not_skipped(site: Site) -> None:
    (site.runbooks / "broken.md").write_text("```run id=a wait=1\nargv: [ls]\n```\n")
    with pytest.raises(RunbookError, match="cannot use runbooks/broken.md: line 1"):
        choose_runbook(site, "api latency")


def test_a_client_starts_only_runbooks_of_the_folder_and_starters(site: Site, tmp_path: Path) -> None:
    (site.runbooks / "coffee.md").write_text(OWN)
    (tmp_path / "outside.md").write_text(OWN.replace("coffee", "outside"))
    (site.runbooks / "link.md").symlink_to(tmp_path / "outside.md")
    (site.runbooks / "within.md").symlink_to("coffee.md")
    assert served_runbook(site, "coffee", "x")[0] == "runbooks/coffee.md"
    assert served_runbook(site, "within", "x")[0] == "runbooks/within.md"
    assert served_runbook(site, "api-latency", "x")[0] == "starter:api-latency.md"
    for name in ("link", "outside.md", str(tmp_path / "outside.md"), "../outside", "coffee.md", ""):
        with pytest.raises(LoomOpsError, match="this server does not offer it"):
            served_runbook(site, name, "x")
    with pytest.raises(LoomOpsError, match="none matches"):
        served_runbook(site, None, "outside")


def test_the_settings_can_list_what_is_offered(site: Site) -> None:
    (site.runbooks / "coffee.md").write_text(OWN)
    limited = replace(site, served_runbooks=("coffee",))
    assert served_runbook(limited, None, "coffee")[0] == "runbooks/coffee.md"
    for name in ("api-latency", None):
        with pytest.raises(LoomOpsError):
            served_runbook(limited, name, "api latency")
