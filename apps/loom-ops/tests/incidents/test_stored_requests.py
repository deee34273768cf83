"""What is executed is never taken from the row of a run."""

import json

import apsw
import pytest
from loom_ops._incidents.models import choose_model, stored_model
from loom_ops._incidents.requests import stored_request
from loom_runner import SQLiteStore


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "s.json"
    path.write_text(json.dumps({"format": "loom-script/1", "replies": [{"text": "a"}]}))
    return f"script:{path}"


def test_a_script_counts_only_if_the_user_named_it(script, capsys):
    assert stored_model("mock") == "mock"
    assert stored_model("openai:x") == "openai:x"
    assert stored_model(script) == "mock"
    assert "it is not recorded that this user chose that script" in capsys.readouterr().err
    choose_model(script)
    assert stored_model(script) == script
    assert stored_model(script + "2") == "mock"


@pytest.mark.parametrize("run_id", ["x", "x:rollback", ".", ".."])
def test_the_folder_of_a_drill_is_that_of_the_run_whatever_is_stored(tmp_path, run_id):
    path = tmp_path / "ops.sqlite"
    SQLiteStore(path).close()
    request = {"incident": "i", "requester": "r", "source": "s", "text": "t", "inputs": {}, "drill": "/elsewhere"}
    db = apsw.Connection(str(path))
    db.execute(
        "INSERT INTO runs (run_id, status, program, created_at, updated_at, input, state)"
        " VALUES (?, 'waiting', 'loom-ops/supervisor', 1, 1, ?, '1')",
        (run_id, json.dumps({"request": request})),
    )
    db.close()
    with SQLiteStore(path, read_only=True) as store:
        name = {".": "_.", "..": "_.."}.get(run_id, "x")
        assert stored_request(store, run_id).drill == str(tmp_path / "ops.sqlite.drill" / name)
