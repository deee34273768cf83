"""An index that somebody else wrote removes nothing outside its folder, and stops nothing."""

import json

import pytest
from flow_xray import TraceStore


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "..", "", "a/../../outside", "a\0b", 7, None, ["x"]])
def test_an_id_that_is_no_file_name_is_ignored(tmp_path, name):
    (tmp_path / "outside.xray").write_text("kept")
    folder = tmp_path / "store"
    folder.mkdir()
    begin = {"t": "begin", "id": name, "name": "x", "started_at": "2000-01-01T00:00:00Z"}
    end = {"t": "end", "id": name, "status": "ok", "size_bytes": 1}
    (folder / "index.jsonl").write_text(json.dumps(begin) + "\n" + json.dumps(end) + "\n")
    store = TraceStore(folder, max_age_s=1)
    assert (tmp_path / "outside.xray").read_text() == "kept"
    assert store.captures() == []


@pytest.mark.parametrize("number", ["1e999", "1" + "0" * 400, '"x"', "[]", "true", "null"])
def test_numbers_of_any_kind_are_listed(tmp_path, number):
    names = ["size_bytes", "spans", "errors", "tokens", "cost_usd", "duration_ms"]
    begin = {"t": "begin", "id": "a", "name": "x", "started_at": "2026-01-01T00:00:00Z"}
    end = f'{{"t":"end","id":"a","status":"ok",{",".join(f"{json.dumps(name)}:{number}" for name in names)}}}'
    (tmp_path / "index.jsonl").write_text(json.dumps(begin) + "\n" + "[" * 100_000 + "\n" + end + "\n")
    (tmp_path / "a.xray").write_text("")
    assert TraceStore(tmp_path).report()["captures"] == 1


@pytest.mark.parametrize("at", ["1e999", "1" + "0" * 400, '"x"', "null"])
def test_a_journal_of_any_time_is_added(tmp_path, at):
    header = f'{{"t":"flow-xray","version":1,"session":"s","name":"x","trace_id":"1","started_at_ns":{at},"pid":0}}'
    (tmp_path / "a.xray").write_text(f"{len(header)}:{header}\n")
    assert len(TraceStore(tmp_path).captures()) == 1
