"""A loss of power and disk errors, after every n-th operation of a run; all of them with
`python -m loom_runner.testing power`.
"""

import random

import apsw
import pytest
from loom_runner.testing import DiskReport
from loom_runner.testing import _disk_sweeps as _power
from loom_runner.testing.__main__ import main
from loom_runner.testing._disk import DiskOp, Fault, Platter, disk_under
from loom_runner.testing._disk_sweeps import fault_sweep, power_sweep

EVERY = 97


def test_the_loss_of_power_loses_nothing_that_was_acknowledged():
    report = power_sweep("power", every=EVERY)
    assert report.problems == []
    assert report.cases > 30


def test_a_lost_power_after_the_lesser_promise_loses_a_tail_and_damages_nothing():
    report = power_sweep("process", every=EVERY)
    assert report.problems == []
    assert report.cases > 30


def test_the_sweep_finds_a_store_that_promises_more_than_it_does(monkeypatch):
    real = _power._one_run
    monkeypatch.setattr(_power, "_one_run", lambda folder, durability: real(folder, "process"))
    report = power_sweep("power", every=EVERY // 2)  # enough places to find both kinds, whatever the timing
    assert {problem.partition(", synced: ")[2].partition(":")[0] for problem in report.problems} >= {"lost", "hidden"}


def files_of(platter, tmp_path, survives, seed=1):
    folder = tmp_path / f"{survives}-{seed}"
    folder.mkdir()
    platter.write_to(folder, survives, random.Random(seed))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_only_synced_writes_are_certain_and_the_rest_may_survive_in_part(tmp_path):
    platter = Platter()
    for op in (
        DiskOp("create", "db"),
        DiskOp("write", "db", 0, b"a" * 512),
        DiskOp("sync", "db", syncs_folder=True),
        DiskOp("write", "db", 512, b"b" * 512),
        DiskOp("write", "db", 1024, b"c" * 1024),
        DiskOp("truncate", "db", 1024),
    ):
        platter.apply(op)
    assert files_of(platter, tmp_path, "synced") == {"db": b"a" * 512}
    assert files_of(platter, tmp_path, "all") == {"db": b"a" * 512 + b"b" * 512}
    parts = {files_of(platter, tmp_path, "some", seed)["db"] for seed in range(40)}
    assert b"a" * 512 + bytes(512) + b"c" * 1024 in parts
    assert all(part.startswith(b"a" * 512) and len(part) % 512 == 0 for part in parts)


def test_a_new_name_and_a_deleted_one_are_sure_when_the_folder_was_synced(tmp_path):
    platter = Platter()
    for op in (
        DiskOp("create", "old"),
        DiskOp("sync", "old", syncs_folder=True),
        DiskOp("create", "new"),
        DiskOp("write", "new", 0, b"n"),
        DiskOp("sync", "new"),
        DiskOp("delete", "old"),
        DiskOp("create", "old"),
    ):
        platter.apply(op)
    assert files_of(platter, tmp_path, "synced") == {"old": b""}
    assert set(files_of(platter, tmp_path, "all")) == {"old", "new"}
    platter.apply(DiskOp("delete", "old", syncs_folder=True))
    assert files_of(platter, tmp_path, "synced", 2) == {"new": b"n"}


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("write", 1, "full"), apsw.FullError),
        (Fault("write", 1, "io"), apsw.IOError),
        (Fault("sync", 1), apsw.IOError),
        (Fault("open", 1), apsw.CantOpenError),
    ],
)
def test_a_fault_is_met_once_or_for_good(tmp_path, fault, error):
    for is_lasting in (False, True):
        path = tmp_path / f"{is_lasting}.sqlite"
        with disk_under(tmp_path, Fault(fault.kind, fault.nth, fault.error, is_lasting)) as disk:
            for number in range(2):
                try:
                    db = apsw.Connection(str(path))
                    db.execute("CREATE TABLE IF NOT EXISTS t (x)")
                    db.close()
                except error:
                    assert number == 0 or is_lasting
                else:
                    assert number == 1
                    assert not is_lasting
            assert disk.has_failed


def test_a_disk_leaves_other_folders_and_later_databases_alone(tmp_path):
    (tmp_path / "other").mkdir()
    with disk_under(tmp_path, Fault("open", 1)) as disk:
        apsw.Connection(str(tmp_path / "other" / "x.sqlite")).execute("CREATE TABLE t (x)")
    assert disk.ops == []
    apsw.Connection(str(tmp_path / "y.sqlite")).execute("CREATE TABLE t (x)")


def test_a_disk_error_is_one_line_and_the_run_can_be_resumed():
    report = fault_sweep(every=29)
    assert report.problems == []
    assert report.cases > 30


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["power", "--every", "900", "--seed", "3"],
            "power lost, durability 'process', every 900. operation, seed 3: ",
        ),
        (["faults", "--every", "900"], "disk refuses, every 900. operation: "),
        (["--number", "1", "--seed", "3"], "seed 3: "),
    ],
)
def test_the_command_counts_and_ends_well(capsys, arguments, said):
    assert main(arguments) == 0
    assert said in capsys.readouterr().out


def test_the_command_names_what_it_found_and_fails(capsys, monkeypatch):
    monkeypatch.setattr(
        "loom_runner.testing.__main__.fault_sweep", lambda **_: DiskReport("disk refuses", 3, ["lost: step sweep/1"])
    )
    assert main(["faults"]) == 1
    assert capsys.readouterr().out == "disk refuses: 3 cases, 1 problems\n  lost: step sweep/1\n"
    with pytest.raises(SystemExit):
        main(["power", "--every", "0"])
