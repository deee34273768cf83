"""Decide which tool calls run, which need approval, and which are denied, by modes and rules.

A *mode* decides about all calls:

| mode | reading | changing files (`edit_file`, `write_file`, `apply_patch`) | everything else |
|---|---|---|---|
| `ask` | runs | needs approval | needs approval |
| `edits` | runs | runs | needs approval |
| `auto` | runs | runs | runs |
| `read-only` | runs | denied | denied |

Reading is a call of a tool that is declared read-only. `run_tests` runs in all modes except
`read-only`, because the owner of the workspace chose its command, not the model; but while the
workspace is not trusted (`trust`), it needs approval, also in the mode `auto`. A file that steers
tools (`steering_files`: settings of CI, editors, git, shells, tests and agents) needs approval in
the mode `edits`, too. A tool that is declared `needs_approval` needs approval in all modes except
`read-only`, in which it is denied. Tools of MCP servers (`remote`) are never trusted by their name,
and one that its server has changed (`changed`) needs approval whatever allows it.

A *rule* decides about some calls: `allow`, `ask` or `deny`, then `tool` or `tool(pattern)`; both
may have wildcards. Rules take precedence over the mode. If several match, `deny` overrides `ask`,
and `ask` overrides `allow`. No rule allows `run_tests` in the mode `read-only`, or while the
workspace is not trusted. The pattern is

* for tools with a path: a glob as in `list_files` (`src/**`). It is compared with the path as
  written and with all links resolved; `allow` must match both, `deny` and `ask` one of them. A
  patch has the paths of all its files.
* for other tools: wildcards over the arguments as JSON text, keys sorted;
* `name=pattern`: wildcards over one argument.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any, Final, Literal, TypeAlias

from loom_runner import Allow, Ask, Deny, PendingCall

from loom_agents._errors import AgentError, ToolError
from loom_agents._tools.input_requests import INPUT_ARGUMENT
from loom_agents._workspace.jail import Workspace
from loom_agents._workspace.listing import matches
from loom_agents._workspace.steering_files import is_user_configuration, steers_tools
from loom_agents._workspace.write.patch import parse_patch

Mode: TypeAlias = Literal["ask", "edits", "auto", "read-only"]
How: TypeAlias = Literal["allow", "ask", "deny"]
_HOWS: Final[tuple[How, ...]] = ("allow", "ask", "deny")

EDITING_TOOLS: Final = frozenset({"edit_file", "write_file", "apply_patch"})
TRUSTED_TOOLS: Final = frozenset({"run_tests"})

_RULE = re.compile(r"\s*([\w.*?\-]+)\s*(?:\((.*)\))?\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Rule:
    """Decide about the calls of some tools.

    Args:
        how: The decision.
        tool: The name of the tool, or a pattern with wildcards.
        pattern: The pattern for its calls; None for all.
    """

    how: How
    tool: str
    pattern: str | None = None

    @classmethod
    def parse(cls, how: str, text: str) -> "Rule":
        """Read `allow`, `ask` or `deny`, and `tool` or `tool(pattern)`.

        Raises:
            AgentError: A text is none of these.
        """
        known = next((each for each in _HOWS if each == how), None)
        if known is None:
            raise AgentError(f"cannot read the rule {how!r} {text!r}: it begins with none of {', '.join(_HOWS)}.")
        found = _RULE.fullmatch(text)
        if found is None or found[2] == "":
            raise AgentError(
                f"cannot read the rule {text!r}: it is neither TOOL nor TOOL(PATTERN). Write for example"
                " edit_file(src/**)."
            )
        return cls(known, found[1], found[2])

    def __str__(self) -> str:
        return self.tool if self.pattern is None else f"{self.tool}({self.pattern})"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Hold the decision about a call, and its reason."""

    how: How
    reason: str


@dataclass(frozen=True, slots=True)
class Policy:
    """Decide about tool calls.

    Args:
        workspace: Resolves the paths.
        mode: Decides about all calls.
        rules: Exceptions for some calls.
        ttl_s: Seconds until a request for approval expires; None for no limit.
        trust: Says why `run_tests` may not run what the workspace brings, or None when the user
            trusts the workspace. Without it, the owner of this program does.
        remote: The names of the tools of MCP servers.
        changed: Those of them that the server has changed since the user accepted them.
    """

    workspace: Workspace
    mode: Mode = "ask"
    rules: tuple[Rule, ...] = ()
    ttl_s: float | None = None
    trust: Callable[[], str | None] | None = None
    remote: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()

    def gate(self, call: PendingCall) -> Allow | Ask | Deny:
        """Decide about a call of a run: the `gate` of an `AgentRunner`."""
        if INPUT_ARGUMENT in call.arguments:
            return Allow()  # the call was allowed before, and a person has now answered its question
        marked = call.tool.needs_approval
        verdict = self.decide(call.name, call.arguments, read_only=call.tool.read_only, marked=marked)
        if verdict.how == "ask":
            return Ask(verdict.reason, ttl_s=self.ttl_s)
        if verdict.how == "deny":
            return Deny(f"{verdict.reason} forbids it. Do not try to do the same in another way.")
        return Allow()

    def decide(
        self, tool: str, arguments: Mapping[str, Any], *, read_only: bool = False, marked: bool = False
    ) -> Verdict:
        """Decide about one call.

        Args:
            tool: The name of the tool.
            arguments: The arguments from the model.
            read_only: Whether the tool is declared read-only.
            marked: Whether the tool is declared `needs_approval`.
        """
        for how in ("deny", "ask", "allow"):
            rules = [rule for rule in self.rules if rule.how == how and fnmatchcase(tool, rule.tool)]
            if not rules:
                continue
            matching = next((rule for rule in rules if self._matches(rule, tool, arguments)), None)
            if matching is not None and not (how == "allow" and self._is_beyond_rules(tool)):
                return Verdict(matching.how, f"the rule {how} {matching}")
        return self._by_mode(tool, arguments, read_only=read_only, marked=marked)

    def _is_beyond_rules(self, tool: str) -> bool:
        """Report whether no rule may allow a tool.

        A rule says which calls the user does not want to be asked about. It is no trust in a
        repository that the user has not looked at, or in a tool that has changed since.
        """
        if tool in self.changed:
            return True
        is_execution = tool in TRUSTED_TOOLS and tool not in self.remote
        return is_execution and (self.mode == "read-only" or (self.trust is not None and self.trust() is not None))

    def _by_mode(self, tool: str, arguments: Mapping[str, Any], *, read_only: bool, marked: bool) -> Verdict:
        reason = f"mode {self.mode}"
        is_local = tool not in self.remote
        if tool in self.changed:
            changed = "its MCP server has changed the tool since you accepted it (--trust accepts it)"
            return Verdict("deny" if self.mode == "read-only" else "ask", changed)
        if read_only and not marked:
            return Verdict("allow", "it only reads")
        if self.mode == "read-only":
            return Verdict("deny", reason)
        if marked:
            return Verdict("ask", "the tool is declared to need approval")
        if is_local and tool in TRUSTED_TOOLS:
            objection = None if self.trust is None else self.trust()
            return Verdict("allow", reason) if objection is None else Verdict("ask", objection)
        if self.mode == "auto":
            return Verdict("allow", reason)
        if self.mode == "edits" and is_local and tool in EDITING_TOOLS:
            steering = next((path for path in named_paths(tool, arguments) or () if self._steers(path)), None)
            if steering is None:
                return Verdict("allow", reason)
            return Verdict("ask", f"{steering} steers other tools")
        return Verdict("ask", reason)

    def _steers(self, path: str) -> bool:
        if any(steers_tools(PurePosixPath(spelling).parts) for spelling in self._spellings(path)):
            return True
        try:
            return is_user_configuration(self.workspace.resolve(path))
        except ToolError:
            return False  # the tool will refuse it with a reason

    def _matches(self, rule: Rule, tool: str, arguments: Mapping[str, Any]) -> bool:
        if rule.pattern is None:
            return True
        name, equals, pattern = rule.pattern.partition("=")
        if equals and name == "path":
            return self._matches(Rule(rule.how, rule.tool, pattern), tool, arguments)
        if equals and name in arguments:
            value = arguments[name]
            text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
            return self._matches_text(rule.how, text, pattern)
        paths = named_paths(tool, arguments)
        if paths is None:
            text = json.dumps(dict(arguments), sort_keys=True, ensure_ascii=False)
            return self._matches_text(rule.how, text, rule.pattern)
        spellings = [spelling for path in paths for spelling in self._spellings(path)]
        if rule.how == "allow":
            return bool(spellings) and all(matches(path, rule.pattern) for path in spellings)
        wanted = rule.pattern.casefold()  # a file system may not distinguish upper and lower case
        return any(matches(path.casefold(), wanted) for path in spellings)

    def _matches_text(self, how: How, text: str, pattern: str) -> bool:
        if how == "allow":
            return fnmatchcase(text, pattern)
        return fnmatchcase(text.casefold(), pattern.casefold())

    def _spellings(self, path: str) -> Iterable[str]:
        """Return a path as written, relative to the workspace, and with all links resolved."""
        root = self.workspace.root.as_posix()
        yield str(PurePosixPath(path.removeprefix(f"{root}/")))
        try:
            yield self.workspace.shown(self.workspace.resolve(path))
        except ToolError:
            return  # the tool will refuse it with a reason


def named_paths(tool: str, arguments: Mapping[str, Any]) -> list[str] | None:
    """Return the paths in the arguments of a call; None for a tool without paths."""
    if tool == "apply_patch":
        try:
            patches = parse_patch(str(arguments.get("patch", "")))
        except ToolError:
            return []  # the tool will refuse it with a reason
        return [path for patch in patches for path in {patch.source, patch.target} if path is not None]
    path = arguments.get("path")
    return [path] if isinstance(path, str) else None
