"""The `run_tests` tool: one command, chosen by the owner of the workspace, never by the model.

The model may only say which tests, and that path goes through the jail. The command runs without a shell, with a
time-out, and in a process group of which nothing is left afterwards.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loom_agents._errors import ToolError, WorkspaceError
from loom_agents._process.run import Ended, run_process
from loom_agents._workspace.jail import Workspace

MAX_OUTPUT_BYTES = 24_000
DEFAULT_TIMEOUT_S = 300.0

# Nothing is written beside the tests: no byte code, no cache folder. It makes a repeat as harmless as it can be.
_ENVIRONMENT = {"PYTHONDONTWRITEBYTECODE": "1"}
_PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
_NO_TESTS_FOUND = 5


def default_test_command(workspace: Workspace) -> tuple[str, ...]:
    """Give the command for a workspace whose owner named none: pytest of its own environment, else of this one."""
    for place in (".venv/bin/python", "venv/bin/python"):
        if (workspace.root / place).is_file():
            return (place, *_PYTEST)
    return (sys.executable, *_PYTEST)


@dataclass(frozen=True, slots=True)
class SuiteRunner:
    """Run the tests of one workspace.

    Args:
        workspace: Where they are.
        command: Program and arguments; the path of the wanted tests is added at the end.
        timeout_s: After this many seconds the tests are stopped.
    """

    workspace: Workspace
    command: tuple[str, ...]
    timeout_s: float = DEFAULT_TIMEOUT_S

    async def run_tests(self, path: str = ".") -> dict[str, Any]:
        """Run the project's tests and report how they ended.

        Args:
            path: A test file, a folder, or one test as `file.py::name`; `.` for all.
        """
        wanted = self._checked(path)
        program = self.command[0]
        if "/" in program and not Path(program).is_absolute():
            program = str(self.workspace.root / program)
        command = (program, *self.command[1:], wanted)
        ended = await run_process(
            command,
            folder=self.workspace.root,
            timeout_s=self.timeout_s,
            max_output_bytes=MAX_OUTPUT_BYTES,
            environment=_ENVIRONMENT,
        )
        output = ended.output.decode("utf-8", "replace")
        self._check_started(ended, output)
        lines = [line for line in output.splitlines() if line.strip()]
        return {
            "path": path,
            "command": " ".join((*self.command, wanted)),
            "status": self._status(ended),
            "exit_code": ended.exit_code,
            "summary": lines[-1].strip("= ") if lines else "",
            "output": output,
            "output_bytes": ended.output_bytes,
            "truncated": ended.is_truncated,
        }

    def _checked(self, path: str) -> str:
        """Give the path as an argument that cannot be taken for an option."""
        file, *names = path.split("::")
        real = self.workspace.resolve(file)
        if not real.exists():
            raise WorkspaceError(f"cannot run tests in {path!r}: there is no such file. Use list_files.")
        return "::".join(("./" + self.workspace.shown(real), *names))

    def _status(self, ended: Ended) -> str:
        if ended.timed_out:
            return f"stopped after {self.timeout_s:g} s"
        if ended.exit_code == 0:
            return "passed"
        if ended.exit_code == _NO_TESTS_FOUND and "pytest" in self.command:
            return "no tests found"
        return "failed"

    def _check_started(self, ended: Ended, output: str) -> None:
        if ended.exit_code == 127 and "cannot start" in output:
            raise ToolError(f"cannot run tests: {self.command[0]} does not start. Tell the user.")
        if ended.exit_code == 1 and "No module named pytest" in output and ended.output_bytes < 500:
            raise ToolError(
                f"cannot run tests: {self.command[0]} has no pytest. Tell the user to install it, or to name"
                " another command with --test-command."
            )
