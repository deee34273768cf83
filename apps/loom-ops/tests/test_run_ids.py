from loom_ops._run_ids import is_rollback, rollback_id, sibling_id


def test_ids_of_related_runs_are_built_and_parsed() -> None:
    assert sibling_id("inc-001:sub:executor", "verifier") == "inc-001:sub:verifier"
    assert rollback_id("inc-001") == "inc-001:rollback"
    assert is_rollback(rollback_id("inc-001"))
    assert not is_rollback("inc-001")
    assert not is_rollback("rollback")
