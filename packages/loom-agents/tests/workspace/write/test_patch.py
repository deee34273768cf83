import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loom_agents._errors import ToolError
from loom_agents._workspace.write.patch import apply_hunks, parse_patch

BEFORE = "one\ntwo\nthree\nfour\nfive\n"
SIMPLE = "--- a/f\n+++ b/f\n@@ -2,3 +2,3 @@\n two\n-three\n+THREE\n four\n"


def _applied(patch: str, text: str = BEFORE) -> str:
    (one,) = parse_patch(patch)
    return apply_hunks(one, text)


def test_a_hunk_changes_its_lines() -> None:
    assert _applied(SIMPLE) == "one\ntwo\nTHREE\nfour\nfive\n"


def test_a_hunk_with_a_wrong_line_number_is_applied_at_the_only_place_that_matches() -> None:
    assert _applied(SIMPLE.replace("-2,3 +2,3", "-90,3 +90,3")) == "one\ntwo\nTHREE\nfour\nfive\n"


def test_a_hunk_that_matches_at_two_other_places_is_refused() -> None:
    with pytest.raises(ToolError, match=r"hunk 1 of 'f' \(line 9\) does not match: its old lines occur 2 times"):
        _applied("--- f\n+++ f\n@@ -9 +9 @@\n-x\n+y\n", "x\nz\nx\n")


def test_a_hunk_whose_context_differs_in_a_space_is_refused() -> None:
    with pytest.raises(ToolError, match="Nothing was changed"):
        _applied(SIMPLE.replace(" two", " two "))


def test_line_endings_of_the_file_stay() -> None:
    assert _applied(SIMPLE, BEFORE.replace("\n", "\r\n")) == "one\r\ntwo\r\nTHREE\r\nfour\r\nfive\r\n"
    assert _applied(SIMPLE, "one\ntwo\r\nthree\nfour\nfive\n") == "one\ntwo\r\nTHREE\nfour\nfive\n"


def test_the_end_of_a_file_without_a_line_feed_is_kept_and_can_change() -> None:
    cut = "--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n\\ No newline at end of file\n"
    assert _applied(cut, "a\nb\n") == "a\nc"
    added = "--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+b\n"
    assert _applied(added, "a\nb") == "a\nb\n"


def test_new_deleted_renamed_files_and_modes_are_read() -> None:
    patches = parse_patch(
        "some words\n"
        "--- plain\n+++ plain\n@@ -1 +1 @@\n-a\n+--- b\n"
        "diff --git a/new b/new\nnew file mode 100755\nindex 000..1\n--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+x\n"
        "diff --git a/old b/old\ndeleted file mode 100644\n--- a/old\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n"
        "diff --git a/from b/to\nsimilarity index 100%\nrename from from\nrename to to\n"
        "diff --git a/tool b/tool\nold mode 100644\nnew mode 100755\n"
    )
    assert [(p.source, p.target, p.executable, len(p.hunks)) for p in patches] == [
        ("plain", "plain", None, 1),
        (None, "new", True, 1),
        ("old", None, None, 1),
        ("from", "to", None, 0),
        ("tool", "tool", True, 0),
    ]
    assert apply_hunks(patches[1], "") == "x\n"
    assert apply_hunks(patches[0], "a\n") == "--- b\n"


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ("", "no `--- a/FILE`"),
        ("hello", "no `--- a/FILE`"),
        ("--- a/f\n+++ b/f\n", "has no hunk"),
        ("--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n+d\n", "hunk 1 states -1,2 +1,2"),
        ("--- a/f\n+++ b/f\n@@ -1,2 +1,1 @@\n a\n", "hunk 1 states"),
        ("--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n-b\n+c\n", "hunk 1 states"),
        ("@@ -1 +1 @@\n-a\n+b\n", "before the name"),
        ("diff --git a/f b/f\nnew file mode 120000\n", "120000"),
        ("diff --git a/f b/f\nGIT binary patch\n", "binary"),
        ("diff --git a/f b/g\ncopy from f\ncopy to g\n", "copies"),
        ("--- /dev/null\n+++ /dev/null\n@@ -1 +1 @@\n-a\n+b\n", "both sides"),
        (SIMPLE + SIMPLE, "names 'f' twice"),
    ],
)
def test_an_invalid_patch_is_refused_with_the_line(patch: str, message: str) -> None:
    with pytest.raises(ToolError, match="cannot apply the patch") as error:
        parse_patch(patch)
    assert message in str(error.value)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not on this machine")
@settings(max_examples=25, deadline=None)
@given(
    before=st.lists(st.sampled_from("abc"), max_size=12),
    after=st.lists(st.sampled_from("abcd"), max_size=12),
    end=st.booleans(),
)
def test_a_git_diff_applied_to_the_old_file_gives_the_new_one(
    before: list[str], after: list[str], end: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder: Path = tmp_path_factory.mktemp("d")
    old, new = "\n".join(before) + "\n" * end, "\n".join(after) + "\n"
    (folder / "x").write_text(old)
    (folder / "y").write_text(new)
    diff = subprocess.run(
        ["git", "diff", "--no-index", "--no-color", "-U2", "x", "y"], cwd=folder, capture_output=True, text=True
    ).stdout
    if not diff or "@@" not in diff:
        return
    (patch,) = parse_patch(diff)
    assert apply_hunks(patch, old) == new
