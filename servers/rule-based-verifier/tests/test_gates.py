import asyncio
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from loom_agents.workspace import Workspace
from rule_based_verifier import ArgumentError, GateResult, Settings, run_lint, run_tests, verifier_health
from rule_based_verifier._errors import CallError
from rule_based_verifier.gates.detection import test_runners as detect_tests
from rule_based_verifier.gates.report_readers import READERS
from rule_based_verifier.gates.verdicts import Counts, Evidence, Failure, combined

Make = Callable[..., Settings]


def check(settings: Settings, *extra: str, **more: object) -> GateResult:
    return asyncio.run(run_tests(settings, extra, **more))


def lint(settings: Settings, *extra: str, **more: object) -> GateResult:
    return asyncio.run(run_lint(settings, extra, **more))


def with_program(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> None:
    """Put a program of this name first on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / name).write_text(f"#!{sys.executable}\n{script}")
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


# ------------------------------------------------------------------ pytest


def test_tests_that_pass_are_a_pass_with_counts(shop: Settings) -> None:
    result = check(shop, "-k", "price")
    assert (result.verdict, result.reason) == ("pass", "1 passed")
    (evidence,) = result.evidence
    assert (evidence.exit_code, evidence.counts.passed, evidence.runner) == (0, 1, "pytest")
    assert evidence.argv[-2:] == ["-k", "price"]
    assert "tests: pass (1 passed)" in result.text()


def test_a_failure_has_its_id_file_and_line(make: Make) -> None:
    settings = make(
        {
            "pytest.ini": "[pytest]\n",
            "tests/test_a.py": (
                "import pytest\nclass TestX:\n    def test_bad(self):\n        x = 1\n        assert x == 2, 'not two'\n"
                "def test_good():\n    pass\n@pytest.fixture\ndef broken():\n    raise OSError('no disk')\n"
                "def test_error(broken):\n    pass\n@pytest.mark.skip\ndef test_later():\n    pass\n"
            ),
        }
    )
    result = check(settings)
    assert (result.verdict, result.reason) == ("fail", "1 failed, 1 errors")
    (evidence,) = result.evidence
    assert vars(evidence.counts) == {"passed": 1, "failed": 1, "errors": 1, "skipped": 1}
    first, second = evidence.failures
    assert (first.name, first.file, first.line) == ("tests/test_a.py::TestX::test_bad", "tests/test_a.py", 5)
    assert "not two" in first.message
    assert (second.name, second.line) == ("tests/test_a.py::test_error", 10)


def test_a_file_that_cannot_be_imported_is_a_failure(make: Make) -> None:
    result = check(make({"test_a.py": "import nothing_of_this_name\n"}))
    assert result.verdict == "fail"
    (failure,) = result.evidence[0].failures
    assert (failure.file, failure.line) == ("test_a.py", 1)
    assert "nothing_of_this_name" in failure.message


CANNOT_TELL = {
    "none collected": ("def helper():\n    pass\n", "no tests were collected"),
    "all skipped": ("import pytest\n@pytest.mark.skip\ndef test_a():\n    pass\n", "no test ran: 1 were skipped"),
    "ends itself": ("import os\ndef test_a():\n    os._exit(0)\n", "it wrote no report"),
    "killed": ("import os\ndef test_a():\n    os.kill(os.getpid(), 9)\n", "ended by signal 9"),
    "kills its starter": (
        "import os\ndef test_a():\n    os.kill(os.getppid(), 9)\n",
        "killed the process that started",
    ),
}


@pytest.mark.parametrize(("source", "reason"), CANNOT_TELL.values(), ids=CANNOT_TELL)
def test_what_did_not_run_is_never_a_pass(make: Make, source: str, reason: str) -> None:
    result = check(make({"test_a.py": source}))
    assert result.verdict == "cannot_tell" and reason in result.reason
    assert result.next_step


def test_a_plugin_that_hides_a_failure_in_the_exit_code_does_not_make_a_pass(make: Make) -> None:
    hook = "def pytest_sessionfinish(session):\n    session.exitstatus = 0\n"
    result = check(make({"conftest.py": hook, "test_a.py": "def test_a():\n    assert 0\n"}))
    assert result.evidence[0].exit_code == 0
    assert result.verdict == "fail"


def test_a_python_without_pytest_is_said(make: Make) -> None:
    settings = make({"test_a.py": ""}, test_command=(sys.executable, "-S", "-m", "pytest"))
    result = check(settings)
    assert result.verdict == "cannot_tell" and "pytest is not installed" in result.reason


def test_a_runner_that_hangs_is_stopped_with_all_its_processes(make: Make) -> None:
    mark = f"mark-{os.getpid()}-{time.monotonic_ns()}"
    source = (
        "import subprocess, sys, time\ndef test_a():\n"
        f"    subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)', '{mark}'], start_new_session=True)\n"
        "    time.sleep(60)\n"
    )
    result = check(make({"test_a.py": source}, timeout_s=2.0))
    assert result.verdict == "cannot_tell" and "stopped after 2 s" in result.reason
    assert result.evidence[0].timed_out and result.evidence[0].exit_code is None
    assert not processes_with(mark)


def processes_with(mark: str) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                found.append(folder.name)
        except OSError:
            continue
    return found


def test_a_runner_that_prints_without_end_is_bounded(make: Make) -> None:
    source = "import os, sys\nline = b'y' * (1 << 20)\nfor _ in range(100):\n    os.write(1, line)\nsys.exit(3)\n"
    result = check(make({"loud.py": source}, test_command=(sys.executable, "loud.py")))
    (evidence,) = result.evidence
    assert (result.verdict, evidence.exit_code) == ("fail", 3)
    assert evidence.output_bytes == 100 << 20 and evidence.output_truncated
    assert len(evidence.output_tail) < 30_000


def test_cancelling_ends_the_processes(make: Make) -> None:
    mark = f"mark-{os.getpid()}-{time.monotonic_ns()}"
    settings = make({"x": ""}, test_command=(sys.executable, "-c", "import time; time.sleep(60)", mark))

    async def cancel() -> None:
        task = asyncio.create_task(run_tests(settings))
        while not processes_with(mark):
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert not processes_with(mark)


def test_output_is_masked_and_safe_on_a_terminal(make: Make) -> None:
    token = "ghp_" + "a1B2c3D4e5" * 3 + "f6G7h8"
    source = f"def test_a():\n    raise ValueError('\\x1b[31m{token}')\n"
    result = check(make({"test_a.py": source}))
    assert token[:12] not in result.text() and "\x1b" not in result.text()
    assert token[:12] not in repr(result)


# ------------------------------------------------------------------ trust


def test_a_root_that_is_not_trusted_runs_nothing(make: Make) -> None:
    settings = make({"conftest.py": "open('ran', 'w')\n", "test_a.py": "def test_a(): pass\n"}, trust=False)
    result = check(settings)
    assert result.verdict == "cannot_tell" and "not trusted" in result.reason
    assert "rule-based-verifier --root" in result.next_step and "--trust" in result.next_step
    assert not (settings.root / "ran").exists()


def test_trust_ends_when_what_steers_the_tests_changes(make: Make) -> None:
    settings = make({"test_a.py": "def test_a():\n    pass\n"})
    assert check(settings).verdict == "pass"
    (settings.root / "conftest.py").write_text("open('ran', 'w')\n")
    result = check(settings)
    assert result.verdict == "cannot_tell" and "since it was changed" in result.reason
    assert not (settings.root / "ran").exists()


def test_ruff_from_elsewhere_checks_a_root_that_is_not_trusted(make: Make) -> None:
    result = lint(make({"a.py": "import os\n", ".venv/bin/ruff": "#!/bin/sh\ntouch ran\n"}, trust=False))
    assert result.verdict == "fail"
    (failure,) = result.evidence[0].failures
    assert (failure.name, failure.file, failure.line) == ("F401", "a.py", 1)


# ------------------------------------------------------------------ arguments

REFUSED = [
    *(["-p", "evil"], ["-pevil"], ["--rootdir=/"], ["-c", "evil.ini"], ["-o", "python_files=*"], ["-W", "error::m.C"]),
    *(["--confcutdir=/"], ["--junit-xml=/tmp/x"], ["--basetemp=."], ["--pdb"], ["--collect-only"], ["--pyargs", "os"]),
    *(["../other"], ["/etc"], ["@file"], ["missing.py"], ["-k", "-p"], ["-k"], ["--tb=$(id)"], ["--maxfai=1"]),
    *(
        ["--import-mode=append"],
        ["--log-file=x"],
        ["--trace-config"],
        ["a\nb"],
        [""],
        [".env"],
        ["x" * 2000],
        ["-x"] * 60,
    ),
]


@pytest.mark.parametrize("extra", REFUSED, ids=[" ".join(extra)[:20] for extra in REFUSED])
def test_arguments_that_load_code_or_lead_outside_are_refused(shop: Settings, extra: list[str]) -> None:
    with pytest.raises(ArgumentError, match="cannot pass"):
        check(shop, *extra)


@pytest.mark.parametrize(
    "extra",
    [
        ["--fix"],
        ["--config", "x=1"],
        ["--output-file=x"],
        ["--add-noqa"],
        ["--cache-dir=x"],
        ["--select", "--fix"],
        [".."],
    ],
)
def test_ruff_gets_no_argument_that_writes(shop: Settings, extra: list[str]) -> None:
    with pytest.raises(ArgumentError):
        lint(shop, *extra)


def test_a_link_that_leads_outside_is_no_path(make: Make) -> None:
    settings = make({"test_a.py": ""})
    (settings.root / "out").symlink_to("/etc")
    with pytest.raises(ArgumentError, match="outside the workspace"):
        check(settings, "out")


def test_a_command_of_the_owner_gets_paths_only(make: Make) -> None:
    settings = make({"a.txt": ""}, test_command=("cat",))
    assert check(settings, "a.txt").evidence[0].argv == ["cat", "./a.txt"]
    with pytest.raises(ArgumentError, match="not on the list"):
        check(settings, "--help")


# ------------------------------------------------------------------ other runners


def test_findings_of_ruff_have_file_and_line_and_nothing_is_fixed(make: Make) -> None:
    settings = make({"pkg/a.py": "import os\n\n\nx = y\n", "ruff.toml": "fix = true\nlint.select = ['F']\n"})
    result = lint(settings)
    assert (result.verdict, result.reason) == ("fail", "2 findings")
    assert [(each.name, each.file, each.line) for each in result.evidence[0].failures] == [
        ("F401", "pkg/a.py", 1),
        ("F821", "pkg/a.py", 4),
    ]
    assert (settings.root / "pkg/a.py").read_text().startswith("import os")


def test_ruff_without_files_cannot_tell(make: Make) -> None:
    result = lint(make({"pyproject.toml": "", "docs/a.md": ""}), "docs")
    assert result.verdict == "cannot_tell" and "no Python files" in result.reason


def test_an_empty_root_has_no_runner(make: Make) -> None:
    result = check(make({"README.md": ""}))
    assert (result.verdict, result.evidence) == ("cannot_tell", [])
    assert "--test-cmd" in result.next_step


def test_a_runner_that_is_not_installed_is_said(make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = make({"go.mod": "module x\n"})
    monkeypatch.setenv("PATH", str(tmp_path))
    result = check(settings)
    assert result.verdict == "cannot_tell" and "go is not installed" in result.reason


def test_several_runners_are_judged_together_and_take_arguments_one_at_a_time(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with_program(
        make, tmp_path, monkeypatch, "cargo", "import sys; print('test result: ok. 2 passed; 0 failed; 0 ignored;')"
    )
    settings = make({"test_a.py": "def test_a():\n    assert 0\n", "Cargo.toml": "[package]\n"})
    result = check(settings)
    assert result.verdict == "fail"
    assert [(each.runner, each.verdict) for each in result.evidence] == [("pytest", "fail"), ("cargo test", "pass")]
    with pytest.raises(CallError, match="Name one in `runner`"):
        check(settings, "-x")
    assert check(settings, "--lib", runner="cargo test").evidence[0].argv == ["cargo", "test", "--lib"]
    with pytest.raises(CallError, match="the runners for tests are pytest, cargo test"):
        check(settings, runner="go test")


@pytest.mark.needs("node")
def test_a_script_of_package_json_is_run_with_counts(make: Make) -> None:
    test = "const {test} = require('node:test'); test('a', () => {}); test('b', () => { throw new Error('no') });\n"
    settings = make({"package.json": '{"scripts": {"test": "node --test"}}', "a.test.js": test}, timeout_s=60.0)
    result = check(settings)
    assert result.verdict == "fail"
    assert (result.evidence[0].counts.passed, result.evidence[0].counts.failed) == (1, 1)


def test_the_placeholder_of_npm_init_is_no_runner(make: Make) -> None:
    package = '{"scripts": {"test": "echo \\"Error: no test specified\\" && exit 1"}}'
    assert check(make({"package.json": package})).reason == "no runner for tests was detected in the root"


REPORTS = {
    "cargo fails": ("cargo test", 101, "fail", [("tests::adds", "src/lib.rs", 12)], [
        "test tests::ok ... ok", "test tests::adds ... FAILED",
        "thread 'tests::adds' (123) panicked at src/lib.rs:12:9:",
        "test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out",
    ]),
    "cargo does not compile": ("cargo test", 101, "fail", [("build", "src/lib.rs", 3)], ["error[E0308]", "  --> src/lib.rs:3:5"]),
    "cargo without tests": ("cargo test", 0, "cannot_tell", [], ["test result: ok. 0 passed; 0 failed; 0 ignored;"]),
    "cargo breaks": ("cargo test", 101, "cannot_tell", [], ["error: failed to parse manifest"]),
    "go passes": ("go test", 0, "pass", [], ['{"Action":"pass","Package":"x","Test":"TestA"}', '{"Action":"pass","Package":"x"}']),
    "go fails": ("go test", 1, "fail", [("TestA", "a_test.go", 7)], [
        '{"Action":"output","Package":"x","Test":"TestA","Output":"    a_test.go:7: want 1\\n"}',
        '{"Action":"fail","Package":"x","Test":"TestA"}', '{"Action":"fail","Package":"x"}', "{broken", "{}",
    ]),
    "go does not compile": ("go test", 1, "fail", [("build", "x.go", 3)], ["./x.go:3:5: undefined: y"]),
    "go without tests": ("go test", 0, "cannot_tell", [], ['{"Action":"skip","Package":"x"}']),
    "go breaks": ("go test", 1, "cannot_tell", [], ["go: cannot find main module"]),
    "vet finds": ("go vet", 1, "fail", [("finding", "x.go", 4)], ["./x.go:4:2: unreachable code"]),
    "vet breaks": ("go vet", 1, "cannot_tell", [], ["go: no packages"]),
    "jest": ("npm", 0, "pass", [], ["Tests:       2 passed, 2 total"]),
    "vitest fails": ("npm", 1, "fail", [], ["      Tests  1 failed | 3 passed (4)"]),
    "mocha hides": ("npm", 0, "fail", [], ["  1 passing (3ms)", "  1 failing"]),
    "node without tests": ("npm", 0, "cannot_tell", [], ["# pass 0", "# fail 0"]),
    "no shell program": ("npm", 127, "cannot_tell", [], ["sh: jest: not found"]),
    "ruff breaks": ("ruff", 2, "cannot_tell", [], ["ruff failed"]),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "code", "verdict", "places", "lines"), REPORTS.values(), ids=REPORTS)
def test_reports_of_runners(
    tmp_path: Path, kind: str, code: int, verdict: str, places: list[object], lines: list[str]
) -> None:
    reader = READERS[kind](tmp_path)
    for line in lines:
        reader.feed(line)
    judgement = reader.judge(code)
    assert judgement.verdict == verdict
    assert [(each.name, each.file, each.line) for each in judgement.failures] == places
    assert bool(judgement.next_step) is (verdict == "cannot_tell")


@pytest.mark.parametrize(
    "content",
    [b"", b"<testsuites><testsuite><testcase", b"<!DOCTYPE x [<!ENTITY a 'b'>]><testsuites/>", b"\xff\xfe\x00"],
    ids=["empty", "cut", "document type", "no text"],
)
def test_a_damaged_report_is_no_pass(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "report.xml").write_bytes(content)
    judgement = READERS["pytest"](tmp_path).judge(0)
    assert judgement.verdict == "cannot_tell" and "its report" in judgement.reason


def test_a_root_that_disappears_is_an_error_with_the_next_step(make: Make) -> None:
    settings = replace(make({"test_a.py": ""}), root=Path("/nonexistent/root"))
    with pytest.raises(CallError, match="no longer a folder"):
        check(settings)


# ------------------------------------------------------------------ detection


@pytest.mark.parametrize(
    ("files", "command", "kinds", "found_by"),
    [
        ({"tests/test_a.py": ""}, None, ["pytest"], "tests/test_a.py"),
        ({"conftest.py": ""}, None, ["pytest"], "conftest.py"),
        ({"pyproject.toml": "[tool.pytest.ini_options]\n"}, None, ["pytest"], "tool.pytest in pyproject.toml"),
        ({"pyproject.toml": "tool = 1\n"}, None, ["pytest"], "pyproject.toml"),
        ({"pyproject.toml": "damaged = [\n"}, None, ["pytest"], "pyproject.toml"),
        ({"package.json": '{"scripts": {"test": 1}}'}, None, [], ""),
        ({"package.json": "[" * 100_000}, None, [], ""),
        ({}, ("python3", "-W", "error", "-m", "pytest"), ["pytest"], "--test-cmd"),
        ({}, ("/usr/bin/py.test",), ["pytest"], "--test-cmd"),
        ({}, ("cargo", "test", "--all"), ["cargo test"], "--test-cmd"),
        ({}, ("ruff", "check"), ["ruff"], "--test-cmd"),
        ({}, ("npm", "run", "check"), ["npm"], "--test-cmd"),
        ({}, ("make", "test"), ["command"], "--test-cmd"),
    ],
)
def test_detection(
    make: Make, files: dict[str, str], command: tuple[str, ...] | None, kinds: list[str], found_by: str
) -> None:
    workspace = Workspace.at(make({"README.md": "", **files}).root)
    found = detect_tests(workspace, command)
    assert [runner.kind for runner in found] == kinds
    assert not found or found[0].found_by == found_by


def test_each_kind_of_root_has_its_linters(make: Make) -> None:
    files = {"a.py": "", "package.json": '{"scripts": {"lint": "eslint ."}}', "go.mod": "", "Cargo.toml": ""}
    settings = make(files)
    assert [each.name for each in verifier_health(settings).runners if each.gate == "lint"] == [
        *("ruff", "npm", "go vet", "cargo clippy")
    ]
    own = make({".venv/bin/ruff": "#!/bin/sh\necho own\n"})
    (own.root / ".venv/bin/ruff").chmod(0o755)
    assert lint(own, runner="ruff").evidence[0].argv[0] == ".venv/bin/ruff"


def test_text_for_people_names_what_is_left_out() -> None:
    failures = [Failure("F401", "a.py", None, "unused")]
    evidence = Evidence(
        "ruff", ["ruff"], "fail", "9 findings", "", 1, Counts(failed=9), failures, 9, "x", 1, *[False] * 3, 5
    )
    passed = replace(evidence, verdict="pass", reason="no findings", failures=[], failures_total=0)
    text = combined("lint", [passed, evidence], 10).text()
    assert "  a.py: F401: unused\n  ... and 8 more\n  output (end):\n  | x" in text
    assert combined("lint", [passed, passed], 10).reason == "all 2 commands passed"
    assert Counts(1, 2, None, 9).ran == 3
