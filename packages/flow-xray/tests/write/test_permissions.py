"""What is written can be read by this user only, whatever the umask; an existing file keeps its
mode.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from flow_xray import TraceResult, TraceStore, trace


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(folder: Path) -> set[tuple[str, int]]:
    return {
        (path.name, path.stat().st_mode & 0o777)
        for path in folder.rglob("*")
        if path.stat().st_mode & 0o777 != (0o700 if path.is_dir() else 0o600)
    }


@pytest.mark.usefixtures("umask")
def test_every_new_file_and_folder_is_private(tmp_path, make_span):
    with trace.capture(journal=tmp_path / "j.xray"):
        pass
    result = TraceResult(spans=[make_span()])
    result.to_html(tmp_path / "p.html")
    result.to_json(tmp_path / "t.json")
    result.to_otlp(tmp_path / "o.json")
    result.diff(result).to_html(tmp_path / "d.html")
    store = TraceStore(tmp_path / "new" / "store", max_count=1)
    for _ in range(3):
        with store.capture():
            pass
    store.tidy()
    assert modes(tmp_path) == set()


def test_a_file_that_exists_keeps_its_permissions(tmp_path, make_span):
    page = tmp_path / "p.html"
    page.write_text("")
    page.chmod(0o640)
    TraceResult(spans=[make_span()]).to_html(page)
    assert page.stat().st_mode & 0o777 == 0o640


def test_a_link_beside_the_target_is_not_followed(tmp_path, make_span):
    (tmp_path / "victim").write_text("kept")
    (tmp_path / f"p.html.{os.getpid()}.partial").symlink_to(tmp_path / "victim")
    TraceResult(spans=[make_span()]).to_html(tmp_path / "p.html")
    assert (tmp_path / "victim").read_text() == "kept"
