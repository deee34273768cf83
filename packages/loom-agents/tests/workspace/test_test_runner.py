import asyncio
import sys

import pytest
from loom_agents._errors import ToolError
from loom_agents._workspace.jail import Workspace
from loom_agents._workspace.test_runner import SuiteRunner, default_test_command


def _runner(workspace: Workspace, **more: float) -> SuiteRunner:
    return SuiteRunner(workspace, default_test_command(workspace), **more)


def test_passing_tests_are_reported(workspace: Workspace) -> None:
    answer = asyncio.run(_runner(workspace).run_tests("tests/test_app.py::test_passes"))
    assert (answer["status"], answer["exit_code"], answer["truncated"]) == ("passed", 0, False)
    assert answer["summary"].startswith("1 passed")


def test_failing_tests_are_an_answer_and_not_an_error(workspace: Workspace) -> None:
    (workspace.root / "tests" / "test_bad.py").write_text("def test_bad():\n    assert 1 == 2\n")
    answer = asyncio.run(_runner(workspace).run_tests("tests"))
    assert answer["status"] == "failed"
    assert "assert 1 == 2" in answer["output"]
    assert answer["summary"].startswith("1 failed, 1 passed")


def test_a_folder_without_tests_is_reported(workspace: Workspace) -> None:
    assert asyncio.run(_runner(workspace).run_tests("docs"))["status"] == "no tests found"


def test_running_tests_leaves_nothing_behind(workspace: Workspace) -> None:
    before = sorted(workspace.root.rglob("*"))
    asyncio.run(_runner(workspace).run_tests("."))
    assert sorted(workspace.root.rglob("*")) == before


def test_tests_that_hang_are_stopped(workspace: Workspace) -> None:
    (workspace.root / "tests" / "test_app.py").write_text("import time\ndef test_hangs():\n    time.sleep(600)\n")
    answer = asyncio.run(_runner(workspace, timeout_s=2.0).run_tests("tests/test_app.py"))
    assert answer["status"] == "stopped after 2 s"
    assert answer["exit_code"] is None


@pytest.mark.parametrize("path", ["../x", "/etc", "link_folder", "none.py", "--collect-only", "-p", ".env", ""])
def test_a_path_that_names_no_test_is_refused(workspace: Workspace, path: str) -> None:
    with pytest.raises(ToolError):
        asyncio.run(_runner(workspace).run_tests(path))


def test_a_file_whose_name_looks_like_an_option_is_only_a_file(workspace: Workspace) -> None:
    (workspace.root / "--version").write_text("not python\n")
    answer = asyncio.run(_runner(workspace).run_tests("--version"))
    assert answer["command"].endswith(" ./--version")
    assert answer["status"] != "passed"


def test_an_interpreter_without_pytest_is_a_clear_error(workspace: Workspace) -> None:
    runner = SuiteRunner(workspace, (sys.executable, "-I", "-S", "-m", "pytest"))
    with pytest.raises(ToolError, match="no pytest"):
        asyncio.run(runner.run_tests("."))


def test_a_command_that_does_not_start_is_a_clear_error(workspace: Workspace) -> None:
    with pytest.raises(ToolError, match="cannot be started"):
        asyncio.run(SuiteRunner(workspace, ("no-such-program",)).run_tests("."))


def test_the_environment_of_the_workspace_is_preferred(workspace: Workspace) -> None:
    assert default_test_command(workspace)[0] == sys.executable
    own = workspace.root / ".venv" / "bin"
    own.mkdir(parents=True)
    (own / "python").symlink_to(sys.executable)
    assert default_test_command(workspace)[0] == ".venv/bin/python"


def test_output_of_fifty_megabytes_is_truncated_and_counted(workspace: Workspace) -> None:
    code = "import sys\nfor n in range(500): sys.stdout.write('x' * 99_999 + '\\n')\nprint('the end')"
    runner = SuiteRunner(workspace, (sys.executable, "-I", "-S", "-c", code), 60.0)
    answer = asyncio.run(runner.run_tests("."))
    assert (answer["status"], answer["truncated"]) == ("passed", True)
    assert answer["output_bytes"] > 50_000_000
    assert len(answer["output"]) < 30_000
    assert answer["output"].endswith("the end\n")


def test_output_that_is_not_utf8_is_shown_with_replacements(workspace: Workspace) -> None:
    code = "import sys; sys.stdout.buffer.write(bytes(range(256)))"
    answer = asyncio.run(SuiteRunner(workspace, (sys.executable, "-I", "-S", "-c", code), 60.0).run_tests("."))
    assert answer["status"] == "passed"
    answer["output"].encode()
