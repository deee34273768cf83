"""Files that decide what may happen are used only if nobody else can write them."""

import grp
import os
import pwd
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from loom_runner import own_files
from loom_runner.errors import NotOwnFile
from loom_runner.own_files import check_own_path, decode_toml, read_own_file, read_plain_file, write_own_file

NOBODY = 65_534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    own_files._is_group_of_user.cache_clear()
    folder = tmp_path / "etc"
    folder.mkdir(mode=0o755)
    (folder / "rules").write_text("content")
    (folder / "rules").chmod(0o644)
    yield folder / "rules"
    own_files._is_group_of_user.cache_clear()


def test_a_file_of_the_user_is_read(file: Path) -> None:
    assert read_own_file(file) == b"content"


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o646, 0o620])
def test_a_file_that_others_can_write_is_refused_with_what_to_do(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(NotOwnFile, match=r"others can write the file .*rules \(mode 06..\)\. Run chmod go-w "):
        read_own_file(file)


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757])
def test_a_folder_on_the_way_that_others_can_write_is_refused(file: Path, mode: int) -> None:
    deep = file.parent / "a/b"
    deep.mkdir(parents=True)
    (deep / "rules").write_text("x")
    file.parent.chmod(mode)
    for path in (file, deep / "rules"):
        with pytest.raises(NotOwnFile, match="others can write the folder"):
            read_own_file(path)


def test_a_sticky_folder_is_fine_for_an_entry_of_the_user(file: Path) -> None:
    file.parent.chmod(0o1777)
    assert read_own_file(file) == b"content"


@as_root
def test_what_belongs_to_another_user_is_refused_with_both_names(file: Path) -> None:
    os.chown(file, NOBODY, NOBODY)
    with pytest.raises(NotOwnFile, match=r"belongs to user 65534 .*runs as user 0 .*--user 65534.*chown root "):
        read_own_file(file)


@as_root
def test_a_sticky_folder_does_not_help_an_entry_of_another_user(file: Path) -> None:
    file.parent.chmod(0o1777)
    os.chown(file, NOBODY, NOBODY)
    with pytest.raises(NotOwnFile, match="belongs to user 65534"):
        read_own_file(file)


@as_root
def test_a_folder_of_another_user_is_refused(file: Path) -> None:
    os.chown(file.parent, NOBODY, NOBODY)
    with pytest.raises(NotOwnFile, match="the folder .* belongs to user 65534"):
        read_own_file(file)


def test_links_are_followed_when_all_is_own(file: Path, tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to(file.parent)
    assert read_own_file(tmp_path / "one/rules") == b"content"
    assert check_own_path(tmp_path / "one/../one/rules") == file


def test_each_hop_of_a_link_is_checked(file: Path, tmp_path: Path) -> None:
    loose = tmp_path / "loose"
    loose.mkdir()
    (loose / "hop").symlink_to(file)
    (tmp_path / "link").symlink_to(loose / "hop")
    loose.chmod(0o777)
    with pytest.raises(NotOwnFile, match="others can write the folder .*loose"):
        read_own_file(tmp_path / "link")


@as_root
def test_a_link_of_another_user_is_refused(file: Path, tmp_path: Path) -> None:
    sticky = tmp_path / "sticky"
    sticky.mkdir()
    sticky.chmod(0o1777)
    (sticky / "link").symlink_to(file)
    os.lchown(sticky / "link", NOBODY, NOBODY)
    with pytest.raises(NotOwnFile, match="the link .* belongs to user 65534"):
        read_own_file(sticky / "link")


def test_a_circle_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(NotOwnFile, match="more than 40 links"):
        read_own_file(tmp_path / "a")


@pytest.mark.parametrize("read", [read_own_file, read_plain_file])
def test_a_pipe_is_refused_without_waiting(tmp_path: Path, read: Callable[[Path], bytes]) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotOwnFile, match="not a plain file"):
        read(tmp_path / "pipe")


def test_a_device_and_a_folder_are_refused() -> None:
    with pytest.raises(NotOwnFile):
        read_own_file("/dev/null")
    with pytest.raises(IsADirectoryError):
        read_own_file("/")


def test_size_is_bounded(file: Path) -> None:
    file.write_bytes(b"x" * 1_000_001)
    with pytest.raises(NotOwnFile, match="more than 1,000,000 bytes"):
        read_own_file(file)


@as_root
def test_a_missing_file_is_missing_in_a_folder_of_another_user_too(file: Path) -> None:
    """Root in a container works in a volume of the host's user, with no settings there."""
    os.chown(file.parent, NOBODY, NOBODY)
    with pytest.raises(FileNotFoundError):
        read_own_file(file.parent / "missing")
    with pytest.raises(NotOwnFile):
        read_own_file(file)


def test_a_missing_file_is_not_a_refusal(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_own_file(tmp_path / "none")


def _accounts(
    monkeypatch: pytest.MonkeyPatch, *, group: str = "ann", members: tuple[str, ...] = (), gid: int = 500
) -> None:
    """Pretend to be ann (500:500), with bob (501:501) beside her."""
    ann = SimpleNamespace(pw_name="ann", pw_uid=500, pw_gid=500)
    bob = SimpleNamespace(pw_name="bob", pw_uid=501, pw_gid=501)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: ann)
    monkeypatch.setattr(pwd, "getpwall", lambda: [ann, bob])
    monkeypatch.setattr(grp, "getgrgid", lambda gid: SimpleNamespace(gr_name=group, gr_mem=list(members), gr_gid=gid))


@pytest.mark.parametrize(
    ("gid", "group", "members", "is_of_root", "expected"),
    [
        (500, "ann", (), False, True),
        (500, "ann", ("ann",), False, True),
        (500, "ann", ("bob",), False, False),
        (500, "users", (), False, False),
        (501, "bob", (), False, False),
        (50, "staff", (), True, True),
        (50, "staff", ("bob",), True, False),
        (50, "staff", (), False, False),
        (0, "root", (), True, False),
    ],
)
def test_only_a_group_of_the_user_alone_counts_as_the_user(
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    gid: int,
    group: str,
    members: tuple[str, ...],
    is_of_root: bool,
    expected: bool,
) -> None:
    _accounts(monkeypatch, group=group, members=members, gid=gid)
    assert own_files._is_group_of_user(gid, is_of_root=is_of_root) is expected


@as_root
@pytest.mark.skipif(
    subprocess.run(["which", "setfacl"], capture_output=True, check=False).returncode != 0, reason="no setfacl"
)
def test_an_access_list_that_lets_another_write_is_refused(file: Path) -> None:
    if subprocess.run(["setfacl", "-m", "u:65534:rw", file], capture_output=True, check=False).returncode != 0:
        pytest.skip("the file system has no access lists")
    with pytest.raises(NotOwnFile, match="others can write"):
        read_own_file(file)


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 3000 + "]" * 3000, "a = " + "{b=" * 60 + "1" + "}" * 60, "x" + ".x" * 500 + " = 1"]
)
def test_deep_toml_is_one_clear_error(text: str) -> None:
    with pytest.raises(ValueError, match="nested more than 50 deep"):
        decode_toml(text.encode())


def test_a_file_is_written_whole_for_its_owner_and_a_link_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "link").symlink_to("mine")
    before = os.umask(0)
    try:
        for name in ("new", "new", "link"):
            write_own_file(tmp_path / name, "text")
    finally:
        os.umask(before)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "mine": "mine",
        "new": "text",
        "link": "text",
    }
    assert {(tmp_path / name).lstat().st_mode for name in ("new", "link")} == {0o100600}
    with pytest.raises(FileNotFoundError):
        write_own_file(tmp_path / "none" / "new", "text")


def test_the_module_loads_nothing_heavy() -> None:
    code = "import loom_runner.own_files, sys; print('pwd' in sys.modules, 'tomllib' in sys.modules)"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "False False\n"
