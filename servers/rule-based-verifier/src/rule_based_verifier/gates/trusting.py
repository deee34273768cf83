"""Whether the user trusts the root, so that its code may run.

Trust is stored in a file of the user, never in the root, and bound to the commands and to the bytes
of the files that steer them. An edited test does not void it; an edited `conftest.py` does.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loom_agents.trust import TestSteering, TrustedFiles, WorkspaceTrust
from loom_agents.workspace import Workspace

from rule_based_verifier.gates.detection import lint_runners, python_of, test_runners
from rule_based_verifier.settings import Settings, user_folder

__all__ = ["RootTrust"]

STEERING: Final = (
    *("go.mod", "go.work", "cargo.toml", "build.rs", "rust-toolchain*", "config.toml", "clippy.toml"),
    *(".npmrc", ".eslintrc*", "*.config.js", "*.config.[cm]js", "*.config.ts", "*.config.[cm]ts", ".mocharc*"),
    *("ruff.toml", ".ruff.toml"),
)


@dataclass(frozen=True, slots=True)
class RootTrust:
    """The trust of the user of this process in the root.

    Args:
        settings: The root, the commands, and the file of what is trusted.
        workspace: The root.
    """

    settings: Settings
    workspace: Workspace

    @property
    def command(self) -> str:
        """The command with which the user trusts the root."""
        import shlex

        words = ["rule-based-verifier", "--root", str(self.workspace.root), "--trust"]
        for option, command in (("--test-cmd", self.settings.test_command), ("--lint-cmd", self.settings.lint_command)):
            words += [option, shlex.join(command)] if command else []
        return shlex.join(words)

    def steering(self) -> TestSteering:
        """Read what would run now."""
        return self._trust().steering()

    def objection(self) -> str | None:
        """Say why nothing of the root may run; None when the user trusts it."""
        return self._trust().objection()

    def trust(self, steering: TestSteering) -> None:
        """Store that the user trusts what was shown."""
        self._trust().trust(steering)

    def _trust(self) -> WorkspaceTrust:
        runners = [
            *test_runners(self.workspace, self.settings.test_command),
            *lint_runners(self.workspace, self.settings.lint_command, is_trusted=True),
        ]
        commands = [runner.argv for runner in runners]
        python = (python_of(self.workspace), "(traces)")
        first, *more = [*commands, python]
        store = TrustedFiles(self.settings.trust_file or Path(user_folder(), "verifier-trust.json"))
        return WorkspaceTrust(self.workspace, store, first, tuple(more), STEERING, "see next_step")
