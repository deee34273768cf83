"""The `run_tests` tool: one command, which the owner of the workspace chooses and not the model.

The model only chooses which tests to run, by a path that is checked by the jail. The command runs
without a shell, with a timeout, with limits, and without network where the platform can do that. No
process of it is left afterwards.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loom_agents._errors import ToolError, WorkspaceError
from loom_agents._process.run import Ended, Limits, can_leave_network, run_process
from loom_agents._workspace.jail import Workspace

MAX_OUTPUT_BYTES = 24_000
DEFAULT_TIMEOUT_S = 300.0

# No byte code and no cache folder are written next to the tests, so that a repeated run has as few
# effects as possible.
_ENVIRONMENT = {"PYTHONDONTWRITEBYTECODE": "1"}
_PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
_NO_TESTS_FOUND = 5
_MEMORY_BYTES = 4_000_000_000


def default_test_command(workspace: Workspace) -> tuple[str, ...]:
    """Return the default command: pytest of the workspace's environment, else of this one."""
    for python in (".venv/bin/python", "venv/bin/python"):
        if (workspace.root / python).is_file():
            return (python, *_PYTEST)
    return (sys.executable, *_PYTEST)


@dataclass(frozen=True, slots=True)
class SuiteRunner:
    """Run the tests of one workspace.

    Args:
        workspace: The workspace.
        command: Program and arguments; the path of the tests is appended.
        timeout_s: Seconds until the tests are stopped.
        network: Whether the tests may use the network; their own loopback they always have.
    """

    workspace: Workspace
    command: tuple[str, ...]
    timeout_s: float = DEFAULT_TIMEOUT_S
    network: bool = False

    async def run_tests(self, path: str = ".") -> dict[str, Any]:
        """Run the project's tests and report the result.

        Args:
            path: A test file, a folder, or one test as `file.py::name`; `.` for all.
        """
        target = self._checked(path)
        program = self.command[0]
        if "/" in program and not Path(program).is_absolute():
            program = str(self.workspace.root / program)
        command = (program, *self.command[1:], target)
        ended = await run_process(
            command,
            folder=self.workspace.root,
            timeout_s=self.timeout_s,
            max_output_bytes=MAX_OUTPUT_BYTES,
            environment=_ENVIRONMENT,
            limits=Limits(cpu_s=max(60, 4 * int(self.timeout_s)), memory_bytes=_MEMORY_BYTES),
            network=self.network,
        )
        output = ended.output.decode("utf-8", "replace")
        self._check_started(ended, output)
        lines = [line for line in output.splitlines() if line.strip()]
        return {
            "path": path,
            "command": " ".join((*self.command, target)),
            "status": self._status(ended),
            "exit_code": ended.exit_code,
            "summary": lines[-1].strip("= ") if lines else "",
            "output": output,
            "output_bytes": ended.output_bytes,
            "truncated": ended.is_truncated,
            "network": "on" if self.network or not can_leave_network() else "off",
        }

    def _checked(self, path: str) -> str:
        """Check the path and return it as an argument that cannot be parsed as an option."""
        file, *names = path.split("::")
        real = self.workspace.resolve(file)
        if not real.exists():
            raise WorkspaceError(f"cannot run tests in {path!r}: there is no such file. Use list_files.")
        return "::".join(("./" + self.workspace.shown(real), *names))

    def _status(self, ended: Ended) -> str:
        if ended.timed_out:
            return f"stopped after {self.timeout_s:g} s"
        if ended.launcher_killed:
            return "the tests killed the process that started them"
        if ended.exit_code == 0:
            return "passed"
        if ended.exit_code == _NO_TESTS_FOUND and "pytest" in self.command:
            return "no tests found"
        return "failed"

    def _check_started(self, ended: Ended, output: str) -> None:
        if ended.exit_code == 127 and "cannot start" in output:
            raise ToolError(f"cannot run tests: {self.command[0]} cannot be started. Tell the user.")
        if ended.exit_code == 1 and "No module named pytest" in output and ended.output_bytes < 500:
            raise ToolError(
                f"cannot run tests: {self.command[0]} has no pytest. Tell the user to install it, or to name"
                " another command with --test-command."
            )
