"""Read a runbook from Markdown, and say everything that is wrong with it at once.

Theory of operation. The text is front matter (YAML between two lines `---`) and Markdown. markdown-it gives the
headings, the fenced blocks and the numbered lists with their lines; everything else is prose and stays prose. A
heading may end in attributes, `{#id effect=write approve=default}`, which its blocks inherit. A fenced block whose
first word is `check` or `run` is a step; its other words are `key=value`, its text is YAML. Any other block (a shell
example, a log) is prose: a document stays a document. A text without any such block is plain Markdown: each numbered
item of its lists becomes an `Instruction`.

Nothing is guessed: an unknown key, word, kind or reference is a problem with a line. Problems are collected, not
raised, so that `lint` shows all of them; `load_runbook` raises when there is an error among them.

Not covered here: whether allow rules match (`_lint`), and values of inputs (`_render`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from loom_ops._durations import read_duration
from loom_ops._errors import LoomOpsError, RunbookError
from loom_ops._problems import Problem
from loom_ops._runbook import (
    CHECK_KINDS,
    DEFAULT_TTL_S,
    ApprovalPolicy,
    Check,
    CheckKind,
    Effect,
    Input,
    Instruction,
    Run,
    Runbook,
    RunbookKind,
    SecretSource,
    Section,
    Step,
)
from loom_ops._yaml import Keys, read_mapping

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from markdown_it.token import Token

__all__ = ["SLOT", "load_runbook", "parse_runbook", "read_text"]

MAX_BYTES: Final = 1_000_000
SLOT: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""`{name}` in a template: an input."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ID: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_HEADING: Final = re.compile(r"(?P<title>.*?)\s*\{(?P<attributes>[^{}]*)\}\s*")
_FRONT_KEYS: Final = {"loom", "title", "summary", "kind", "match", "inputs", "secrets", "approvals"}
_INPUT_KEYS: Final = {"type", "pattern", "enum", "default", "env", "description"}
_POLICY_KEYS: Final = {"group", "count", "ttl", "not_requester", "on_timeout"}
_CHECK_KEYS: Final = {"kind", "expect", "timeout", "retries", "interval", "for"}
_RUN_KEYS: Final = {"argv", "reason", "env"}
_CHECK_WORDS: Final = {"id"}
_RUN_WORDS: Final = {"id", "undo", "timeout", "effect", "approve"}
_SECTION_WORDS: Final = {"effect", "approve"}
MAX_TIMEOUT_S: Final = 86_400.0


def load_runbook(path: Path, shown: str | None = None) -> Runbook:
    """Read a runbook that is to be run.

    Raises:
        RunbookError: It has errors.
        LoomOpsError: It cannot be read.
    """
    shown = shown or str(path)
    runbook, problems = parse_runbook(read_text(path, shown), shown)
    errors = [problem for problem in problems if problem.severity == "error"]
    if runbook is None or errors:
        raise RunbookError(shown, errors)
    return runbook


def read_text(path: Path, shown: str) -> str:
    """Read a runbook's file.

    Raises:
        LoomOpsError: It is not there, not readable, too large or not text.
    """
    try:
        data = path.read_bytes() if path.stat().st_size <= MAX_BYTES else None
    except IsADirectoryError as exc:
        raise LoomOpsError(f"cannot read {shown}: it is a folder. Name a Markdown file in it.") from exc
    except OSError as exc:
        raise LoomOpsError(f"cannot read {shown}: {(exc.strerror or str(exc)).lower()}. Check the name.") from exc
    if data is None:
        raise LoomOpsError(
            f"cannot read {shown}: it is larger than {MAX_BYTES:,} bytes. A runbook is for people; split it."
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise LoomOpsError(f"cannot read {shown}: byte {exc.start} is not UTF-8. Save it as UTF-8.") from exc


def parse_runbook(text: str, source: str) -> tuple[Runbook | None, list[Problem]]:
    """Read a runbook.

    Returns:
        The runbook, None when an error was found; and every problem, in the order of the lines.
    """
    parser = _Parser(text)
    parser.read()
    problems = sorted(parser.problems)
    if any(problem.severity == "error" for problem in problems):
        return None, problems
    name = Path(source).stem
    return (
        Runbook(
            name=name,
            source=source,
            kind=parser.kind,
            digest=sha256(text.encode()).hexdigest(),
            title=parser.title or name,
            summary=parser.summary,
            match=parser.match,
            inputs=parser.inputs,
            secrets=parser.secrets,
            approvals=parser.approvals,
            sections=tuple(parser.sections),
            steps=tuple(parser.steps),
        ),
        problems,
    )


@dataclass(slots=True)
class _Heading:
    id: str
    effect: Effect | None = None
    approve: str | None = None


@dataclass(slots=True)
class _Parser:
    text: str
    problems: list[Problem] = field(default_factory=list)
    title: str = ""
    summary: str = ""
    kind: RunbookKind = "remedy"
    match: tuple[str, ...] = ()
    inputs: dict[str, Input] = field(default_factory=dict)
    secrets: dict[str, SecretSource] = field(default_factory=dict)
    approvals: dict[str, ApprovalPolicy] = field(default_factory=dict)
    sections: list[Section] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    _section_lines: dict[str, int] = field(default_factory=dict)

    def wrong(self, line: int, text: str, fix: str) -> None:
        self.problems.append(Problem(line, text, fix))

    def read(self) -> None:
        lines = self.text.splitlines()
        body_from = 0
        if lines and lines[0].strip() == "---":
            end = next((index for index, line in enumerate(lines[1:], 1) if line.strip() == "---"), None)
            if end is None:
                self.wrong(1, "the front matter has no end", "Add a line --- after it")
                return
            keys, problems = read_mapping("\n".join(lines[1:end]), 2)
            self.problems += problems
            if not problems:
                self._front(keys)
            body_from = end + 1
        self._body("\n".join(lines[body_from:]), body_from)
        self._references()

    # ------------------------------------------------------------ front matter

    def _front(self, keys: Keys) -> None:
        self._known(keys, _FRONT_KEYS, "the front matter")
        if keys.get("loom", 1) != 1:
            self.wrong(
                keys.lines["loom"],
                f"this is a runbook of form {keys['loom']!r}, and only form 1 is known",
                "Write loom: 1",
            )
        self.title = self._text(keys, "title")
        self.summary = self._text(keys, "summary")
        if keys.get("kind", "remedy") in ("remedy", "change"):
            self.kind = keys.get("kind", "remedy")
        else:
            self.wrong(keys.lines["kind"], f"the kind {keys['kind']!r} is unknown", "Use remedy or change")
        match = keys.get("match", [])
        if isinstance(match, list) and all(isinstance(word, str) for word in match):
            self.match = tuple(word.lower() for word in match)
        else:
            self.wrong(keys.lines["match"], "match is not a list of words", "Write match: [latency, slow]")
        for name, value in self._entries(keys, "inputs"):
            self._input(name, value, keys["inputs"].lines[name])
        for name, value in self._entries(keys, "secrets"):
            self._secret(name, value, keys["secrets"].lines[name])
        for name, value in self._entries(keys, "approvals"):
            self._policy(name, value)

    def _entries(self, keys: Keys, name: str) -> Iterator[tuple[str, Keys]]:
        group = keys.get(name)
        if group is None:
            return
        if not isinstance(group, Keys):
            self.wrong(keys.lines[name], f"{name} is not a mapping", f"Write {name}: {{name: {{...}}}}")
            return
        for entry, value in group.items():
            line = group.lines[entry]
            if not _NAME.fullmatch(entry):
                self.wrong(line, f"{entry!r} is not a name", "Use letters, digits and _, and begin with a letter")
            elif not isinstance(value, Keys):
                self.wrong(line, f"{entry} in {name} is not a mapping", "Write its keys in {...} or below it")
            else:
                yield entry, value

    def _input(self, name: str, keys: Keys, line: int) -> None:
        self._known(keys, _INPUT_KEYS, f"input {name}")
        kind = keys.get("type", "string")
        if kind not in ("string", "integer", "number", "boolean"):
            self.wrong(
                keys.lines["type"],
                f"input {name} has the unknown type {kind!r}",
                "Use string, integer, number or boolean",
            )
            kind = "string"
        pattern = None
        if "pattern" in keys:
            try:
                pattern = re.compile(keys["pattern"])
            except (re.error, TypeError) as exc:
                self.wrong(
                    keys.lines["pattern"], f"the pattern of input {name} is not a regular expression ({exc})", "Mend it"
                )
        enum = keys.get("enum", [])
        if not isinstance(enum, list):
            self.wrong(keys.lines["enum"], f"enum of input {name} is not a list", "Write enum: [a, b]")
            enum = []
        default = keys.get("default")
        self.inputs[name] = Input(
            name=name,
            line=line,
            type=cast("Any", kind),
            pattern=pattern,
            enum=tuple(plain(value) for value in enum),
            default=None if default is None else plain(default),
            variable=self._text(keys, "env") or None,
            description=self._text(keys, "description"),
        )

    def _secret(self, name: str, keys: Keys, line: int) -> None:
        self._known(keys, {"env", "file"}, f"secret {name}")
        kinds = [kind for kind in ("env", "file") if isinstance(keys.get(kind), str)]
        if len(kinds) != 1:
            self.wrong(
                line,
                f"secret {name} does not say where it is",
                "Write {env: VARIABLE} or {file: PATH}, never the secret itself",
            )
            return
        self.secrets[name] = SecretSource(name, line, "env" if kinds == ["env"] else "file", keys[kinds[0]])

    def _policy(self, name: str, keys: Keys) -> None:
        self._known(keys, _POLICY_KEYS, f"approval {name}")
        count = keys.get("count", 1)
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= 20:
            self.wrong(keys.lines["count"], f"count of approval {name} is {count!r}", "Write a number from 1 to 20")
            count = 1
        if keys.get("on_timeout", "deny") != "deny":
            self.wrong(
                keys.lines["on_timeout"],
                f"on_timeout of approval {name} is {keys['on_timeout']!r}",
                "Write deny: silence is never a yes",
            )
        not_requester = keys.get("not_requester", False)
        if not isinstance(not_requester, bool):
            self.wrong(
                keys.lines["not_requester"],
                f"not_requester of approval {name} is {not_requester!r}",
                "Write true or false",
            )
            not_requester = True
        ttl_s = self._duration(keys, "ttl") or DEFAULT_TTL_S
        group = self._text(keys, "group") or "operators"
        self.approvals[name] = ApprovalPolicy(name, group, count, ttl_s, not_requester)

    # ------------------------------------------------------------ body

    def _body(self, body: str, before: int) -> None:
        from markdown_it import MarkdownIt

        tokens = MarkdownIt("commonmark").parse(body)
        lines = body.splitlines()
        heading = _Heading("top")
        marks: list[tuple[_Heading, int, str, int]] = [(heading, before + 1, "", 0)]
        items: list[tuple[_Heading, Token]] = []
        for index, token in enumerate(tokens):
            first = token.map[0] if token.map else 0
            line = before + first + 1
            if token.type == "heading_open":
                heading, title = self._heading(tokens[index + 1].content, line)
                marks.append((heading, line, title, (token.map or [0, 0])[1]))
                if not self.title and token.tag == "h1":
                    self.title = title
            elif token.type == "fence":
                self._block(token, heading, line)
            elif token.type == "list_item_open" and token.markup in (".", ")") and token.level == 1:
                items.append((heading, token))
        for position, (mark, line, title, starts) in enumerate(marks):
            stop = marks[position + 1][1] - before - 1 if position + 1 < len(marks) else len(lines)
            prose = "\n".join(lines[starts:stop]).strip()
            if title or prose:
                self.sections.append(Section(mark.id, line, title, prose))
        if not self.steps:
            for number, (mark, token) in enumerate(items, 1):
                first, last = token.map or [0, 0]
                text = re.sub(r"^\s*\d+[.)]\s*", "", "\n".join(lines[first:last])).strip()
                self.steps.append(Instruction(f"item-{number}", before + first + 1, mark.id, text))
        if not self.steps and not self.problems:
            self.wrong(1, "there is nothing to do in it", "Add a numbered list, or blocks ```check and ```run")

    def _heading(self, content: str, line: int) -> tuple[_Heading, str]:
        found = _HEADING.fullmatch(content)
        if found is None:
            return _Heading(self._section_id(_slug(content), line, said=False)), content.strip()
        title, identity = found["title"].strip(), ""
        words: dict[str, str] = {}
        for word in found["attributes"].split():
            name, equals, value = word.partition("=")
            if word.startswith("#"):
                identity = word[1:]
            elif equals and name in _SECTION_WORDS and name not in words:
                words[name] = value
            else:
                self.wrong(
                    line,
                    f"{word!r} is not an attribute of a heading",
                    "Use #id, effect=read, effect=write or approve=NAME, each once",
                )
        effect = self._effect(words.get("effect"), line)
        section = self._section_id(identity or _slug(title), line, said=bool(identity))
        return _Heading(section, effect, words.get("approve")), title

    def _section_id(self, wanted: str, line: int, *, said: bool) -> str:
        if said and not _ID.fullmatch(wanted):
            self.wrong(line, f"{wanted!r} is not an id", "Use lower case letters, digits, - and _")
        elif said and wanted in self._section_lines:
            self.wrong(
                line, f"the section id {wanted!r} was used in line {self._section_lines[wanted]}", "Choose another"
            )
        while not said and wanted in self._section_lines:
            wanted += "-"
        self._section_lines[wanted] = line
        return wanted

    def _effect(self, word: str | None, line: int) -> Effect | None:
        if word is None or word in ("read", "write"):
            return cast("Effect | None", word)
        self.wrong(line, f"the effect {word!r} is unknown", "Use effect=read or effect=write")
        return None

    def _block(self, token: Token, heading: _Heading, line: int) -> None:
        kind, *words = token.info.split() or [""]
        if kind not in ("check", "run"):
            return
        given: dict[str, str] = {}
        for word in words:
            name, equals, value = word.partition("=")
            if not equals or name not in (_CHECK_WORDS if kind == "check" else _RUN_WORDS):
                known = ", ".join(sorted(_CHECK_WORDS if kind == "check" else _RUN_WORDS))
                self.wrong(line, f"{word!r} is not known here", f"A {kind} block takes {known} as name=value")
            elif name in given:
                self.wrong(line, f"{name} is given twice", "Keep one of them")
            else:
                given[name] = value
        identity = given.get("id", "")
        if not _ID.fullmatch(identity):
            what = f"{identity!r} is not an id" if identity else "the step has no id"
            self.wrong(line, what, f"Write {kind} id=NAME with lower case letters, digits, - and _")
        other = next((step for step in self.steps if step.id == identity), None)
        if other is not None:
            self.wrong(line, f"the id {identity!r} was used in line {other.line}", "Choose another")
        keys, problems = read_mapping(token.content, line + 1)
        self.problems += problems
        if not problems:
            make = self._check if kind == "check" else self._run
            make(identity, heading, line, given, keys)

    def _check(self, identity: str, heading: _Heading, line: int, _: Mapping[str, str], keys: Keys) -> None:
        kind = keys.get("kind")
        if kind not in CHECK_KINDS:
            at = keys.lines.get("kind", line)
            what = "the check has no kind" if kind is None else f"the kind {kind!r} is unknown"
            self.wrong(at, what, f"Use one of {', '.join(CHECK_KINDS)}")
            return
        must, may = CHECK_KINDS[kind]
        self._known(keys, _CHECK_KEYS | must | may, f"a check of kind {kind}")
        for key in sorted(must - keys.keys()):
            self.wrong(line, f"check {identity} has no {key}", f"A check of kind {kind} needs {key}: ...")
        expect = keys.get("expect")
        retries = keys.get("retries", 0)
        if isinstance(retries, bool) or not isinstance(retries, int) or not 0 <= retries <= 100:
            self.wrong(keys.lines["retries"], f"retries is {retries!r}", "Write a number from 0 to 100")
            retries = 0
        self.steps.append(
            Check(
                id=identity,
                line=line,
                section=heading.id,
                kind=cast("CheckKind", kind),
                options={key: value for key, value in keys.items() if key not in _CHECK_KEYS},
                expect=None if expect is None else plain(expect),
                timeout_s=self._duration(keys, "timeout") or 10.0,
                retries=retries,
                interval_s=self._duration(keys, "interval") or 1.0,
                hold_s=self._duration(keys, "for") or 0.0,
            )
        )
        if "argv" in keys:
            self._argv(keys)

    def _run(self, identity: str, heading: _Heading, line: int, given: Mapping[str, str], keys: Keys) -> None:
        self._known(keys, _RUN_KEYS, "a run block")
        argv = self._argv(keys) if "argv" in keys else ()
        if "argv" not in keys:
            self.wrong(line, f"step {identity} has no argv", "Write argv: [program, argument, ...]")
        environment = keys.get("env") or {}
        if not isinstance(environment, dict) or not all(isinstance(value, str) for value in environment.values()):
            self.wrong(keys.lines["env"], "env is not a mapping of texts", "Write env: {NAME: value}")
            environment = {}
        timeout = None
        if "timeout" in given:
            timeout = self._read_duration(given["timeout"], line)
        undo = given.get("undo")
        self.steps.append(
            Run(
                id=identity,
                line=line,
                section=heading.id,
                argv=argv,
                effect=self._effect(given.get("effect"), line) or heading.effect or "write",
                approve=given.get("approve") or heading.approve or "default",
                undo=None if undo == "none" else undo,
                says_undo=undo is not None,
                timeout_s=timeout,
                reason=self._text(keys, "reason"),
                environment=dict(environment),
            )
        )

    def _argv(self, keys: Keys) -> tuple[str, ...]:
        argv = keys["argv"]
        line = keys.lines["argv"]
        if (
            not isinstance(argv, list)
            or not argv
            or any(isinstance(part, (list, dict)) or part is None for part in argv)
        ):
            self.wrong(line, "argv is not a list of words", "Write argv: [program, argument, ...]; no shell reads it")
            return ()
        words = tuple(plain(part) for part in argv)
        if SLOT.search(words[0]) or not words[0]:
            self.wrong(line, "the program is not fixed", "Write the program's name itself, without a slot")
        return words

    # ------------------------------------------------------------ what refers to what

    def _references(self) -> None:
        ids = {step.id: step for step in self.steps}
        for step in self.steps:
            if isinstance(step, Instruction):
                continue
            for slot in sorted(set(_slots(step))):
                if slot not in self.inputs:
                    self.wrong(
                        step.line,
                        f"step {step.id} uses {{{slot}}}, which is no input",
                        "Add it to inputs, or mend the name",
                    )
            if not isinstance(step, Run):
                continue
            if step.effect == "write" and step.approve not in self.approvals and step.approve != "default":
                self.wrong(
                    step.line,
                    f"step {step.id} wants the approval {step.approve!r}, which is not there",
                    "Add it to approvals",
                )
            if step.undo is not None and step.undo not in ids:
                self.wrong(
                    step.line,
                    f"undo of {step.id} names {step.undo!r}, which is no step",
                    "Name a run block, or write undo=none",
                )
            elif step.undo is not None and not isinstance(ids[step.undo], Run):
                self.wrong(step.line, f"undo of {step.id} names {step.undo!r}, which runs nothing", "Name a run block")
            if self._is_cyclic(step, ids):
                self.wrong(step.line, f"undo of {step.id} leads back to itself", "Let the last undo say undo=none")

    @staticmethod
    def _is_cyclic(step: Run, ids: Mapping[str, Step]) -> bool:
        seen: set[str] = set()
        at: Step | None = step
        while isinstance(at, Run) and at.undo is not None:
            if at.id in seen:
                return at.id == step.id
            seen.add(at.id)
            at = ids.get(at.undo)
        return False

    # ------------------------------------------------------------ values

    def _known(self, keys: Keys, known: set[str] | frozenset[str], where: str) -> None:
        for key in keys:
            if key not in known:
                self.wrong(
                    keys.lines[key], f"{key!r} is not known in {where}", f"Known there: {', '.join(sorted(known))}"
                )

    def _text(self, keys: Keys, name: str) -> str:
        value = keys.get(name, "")
        if isinstance(value, str):
            return value.strip()
        self.wrong(keys.lines[name], f"{name} is not a text", "Put quotes around it")
        return ""

    def _duration(self, keys: Keys, name: str) -> float | None:
        return self._read_duration(keys[name], keys.lines[name]) if name in keys else None

    def _read_duration(self, value: object, line: int) -> float | None:
        try:
            seconds = read_duration(value)
        except ValueError as exc:
            self.wrong(line, str(exc), "Write a number with its unit: s, m, h or d")
            return None
        if seconds > MAX_TIMEOUT_S * 366:
            self.wrong(line, f"{value} is longer than a year", "Write less")
        return seconds


def plain(value: Any) -> str:
    """Write a scalar of YAML as it goes into a command."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _slots(step: Check | Run) -> Iterator[str]:
    texts = (
        [*step.argv, *step.environment.values()]
        if isinstance(step, Run)
        else [step.expect or "", *_texts(step.options)]
    )
    for text in texts:
        yield from SLOT.findall(text)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60] or "section"
