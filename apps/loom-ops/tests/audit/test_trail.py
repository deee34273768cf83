from pathlib import Path

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loom_ops._audit.chain import AuditFact, AuditHead
from loom_ops._audit.trail import AuditTrail
from loom_ops._errors import AuditError


def fact(number: int, run_id: str = "inc-001", **content: object) -> AuditFact:
    return AuditFact(
        f"{run_id}/{number}", run_id, "2026-11-21T00:00:00.000000Z", "step.done", "planner", content or {"n": number}
    )


@pytest.fixture
def trail(tmp_path: Path):
    trail = AuditTrail(tmp_path / "ops.sqlite")
    assert trail.append([fact(number) for number in range(2, 7)]) == 5
    yield trail
    trail.close()


def tamper(tmp_path: Path, sql: str) -> None:
    # apsw, because a second SQLite library in one process would break the locks of the first.
    db = apsw.Connection(str(tmp_path / "ops.sqlite"))
    db.execute("DROP TRIGGER IF EXISTS audit_is_not_changed; DROP TRIGGER IF EXISTS audit_is_not_cut;" + sql)
    db.close()


def test_an_unchanged_trail_verifies_against_every_printed_head(trail: AuditTrail) -> None:
    first = trail.head()
    trail.append([fact(7)])
    assert trail.verify() == [] and trail.verify(first) == [] and trail.verify(trail.head()) == []
    assert first is not None and AuditHead.parse(str(first)) == first


def test_a_fact_is_recorded_once(trail: AuditTrail) -> None:
    head = trail.head()
    assert trail.append([fact(2), fact(5)]) == 0
    assert trail.head() == head


def test_two_connections_write_one_chain(trail: AuditTrail, tmp_path: Path) -> None:
    other = AuditTrail(tmp_path / "ops.sqlite")
    for number in range(10, 20):
        (trail if number % 2 else other).append([fact(number)])
    assert [entry.number for entry in other.entries()] == list(range(1, 17)) and trail.verify() == []
    other.close()


def test_entries_of_a_run_include_those_of_its_children(trail: AuditTrail) -> None:
    trail.append([fact(1, "inc-001:sub:verifier"), fact(1, "inc-0011"), fact(1, "inc-001:subway")])
    assert [entry.run_id for entry in trail.entries("inc-001")] == ["inc-001"] * 5 + ["inc-001:sub:verifier"]


@pytest.mark.parametrize(
    ("sql", "number", "expected"),
    [
        ("UPDATE audit SET content = '{}' WHERE number = 3", 3, "entry 3 was changed"),
        ("UPDATE audit SET actor = 'me' WHERE number = 1", 1, "entry 1 was changed"),
        ("UPDATE audit SET at = '' WHERE number = 5", 5, "entry 5 was changed"),
        ("DELETE FROM audit WHERE number = 1", 1, "entry 1 is missing"),
        ("DELETE FROM audit WHERE number IN (2, 3)", 2, "entry 2 to 3 is missing"),
        (
            """UPDATE audit SET number = 99 WHERE number = 2; UPDATE audit SET number = 2 WHERE number = 3;
            UPDATE audit SET number = 3 WHERE number = 99""",
            2,
            "entry 2 does not follow",
        ),
        (
            "INSERT INTO audit SELECT 7, 'x', run_id, at, kind, actor, content, previous, hash FROM audit WHERE number = 6",
            7,
            "entry 7",
        ),
    ],
)
def test_every_change_is_reported(trail: AuditTrail, tmp_path: Path, sql: str, number: int, expected: str) -> None:
    tamper(tmp_path, sql)
    breaks = trail.verify()
    assert breaks and breaks[0].number == number and any(expected in found.text for found in breaks)


def test_one_changed_entry_is_one_break(trail: AuditTrail, tmp_path: Path) -> None:
    tamper(tmp_path, "UPDATE audit SET actor = 'me' WHERE number = 3")
    assert [found.text for found in trail.verify()] == ["entry 3 was changed (step.done of inc-001)"]


def test_a_changed_entry_with_a_corrected_hash_breaks_the_next(trail: AuditTrail, tmp_path: Path) -> None:
    tamper(tmp_path, "UPDATE audit SET actor = 'me' WHERE number = 3")
    mended = [entry for entry in trail.entries() if entry.number == 3][0].expected_hash
    tamper(tmp_path, f"UPDATE audit SET hash = '{mended}' WHERE number = 3")
    assert [found.text for found in trail.verify()] == ["entry 4 does not follow the one before it"]


def test_a_removed_tail_is_found_only_with_a_printed_head(trail: AuditTrail, tmp_path: Path) -> None:
    head = trail.head()
    tamper(tmp_path, "DELETE FROM audit WHERE number = 6")
    assert trail.verify() == []
    assert [found.text for found in trail.verify(head)] == ["the trail ends at entry 5, but entry 6 was printed"]
    trail.append([fact(77)])
    assert [found.text for found in trail.verify(head)] == ["entry 6 is not the one that was printed"]


def test_the_table_refuses_updates_and_deletes(trail: AuditTrail, tmp_path: Path) -> None:
    db = apsw.Connection(str(tmp_path / "ops.sqlite"))
    for sql in ("UPDATE audit SET actor = 'me'", "DELETE FROM audit"):
        with pytest.raises(apsw.ConstraintError, match="append-only"):
            db.execute(sql)
    db.close()


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 6),
    st.sampled_from(["source", "run_id", "at", "kind", "actor", "content", "previous", "hash"]),
    st.data(),
)
def test_any_changed_character_is_reported(
    tmp_path_factory: pytest.TempPathFactory, number: int, column: str, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("audit")
    trail = AuditTrail(folder / "ops.sqlite")
    trail.append([fact(other) for other in range(2, 7)])
    text = str(getattr(next(entry for entry in trail.entries() if entry.number == number), column))
    place = data.draw(st.integers(0, len(text) - 1))
    other = "x" if text[place] != "x" else "y"
    db = apsw.Connection(str(folder / "ops.sqlite"))
    db.execute("DROP TRIGGER audit_is_not_changed")
    db.execute(f"UPDATE audit SET {column} = ? WHERE number = ?", (text[:place] + other + text[place + 1 :], number))
    db.close()
    assert {found.number for found in trail.verify()} & {number, number + 1}
    trail.close()


@pytest.mark.parametrize(
    "text", ["", "5", "5:abc", "x:" + "0" * 64, "-1:" + "0" * 64, "5:" + "G" * 64, "٣:" + "0" * 64]
)
def test_a_malformed_head_is_reported_in_one_line(text: str) -> None:
    with pytest.raises(AuditError, match="is not a head"):
        AuditHead.parse(text)


def test_a_file_that_is_not_a_database_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.sqlite").write_text("no database, but long enough to be looked at as one " * 30)
    with pytest.raises(AuditError, match="cannot open the audit trail") as caught:
        AuditTrail(tmp_path / "x.sqlite")
    assert "\n" not in str(caught.value)
