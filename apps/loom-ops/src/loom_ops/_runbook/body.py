"""Read the body of a runbook: headings, prose, fenced blocks and numbered lists.

A heading may end in attributes, `{#id effect=write approve=default}`, which the blocks below it
inherit. A fenced block whose first word is `check` or `run` is a step; its other words are
`key=value`, its text is YAML. Any other block is prose. A body without such a block is plain
Markdown: each numbered item becomes an `Instruction`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from loom_ops._runbook.model import CHECK_KINDS, Check, CheckKind, Effect, Instruction, Run, Section
from loom_ops._runbook.template import SLOT, scalar_text
from loom_ops._runbook.yaml_mapping import read_mapping

if TYPE_CHECKING:
    from collections.abc import Mapping

    from markdown_it.token import Token

    from loom_ops._runbook.draft import Draft
    from loom_ops._runbook.yaml_mapping import Keys

__all__ = ["read_body"]

MAX_RETRIES: Final = 100

_ID: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_HEADING: Final = re.compile(r"(?P<title>.*?)\s*\{(?P<attributes>[^{}]*)\}\s*")
_HEADING_WORDS: Final = {"effect", "approve"}
_BLOCK_WORDS: Final = {"check": {"id"}, "run": {"id", "undo", "timeout", "effect", "approve"}}
_CHECK_KEYS: Final = {"kind", "expect", "timeout", "retries", "interval", "for"}
_RUN_KEYS: Final = {"argv", "reason", "env"}


@dataclass(slots=True)
class _Heading:
    id: str
    effect: Effect | None = None
    approve: str | None = None


def read_body(draft: Draft, body: str, lines_before: int) -> None:
    """Put the sections and steps of the body into the draft.

    Args:
        body: The Markdown below the front matter.
        lines_before: How many lines of the file come before it.
    """
    _BodyReader(draft, lines_before).read(body)


class _BodyReader:
    def __init__(self, draft: Draft, lines_before: int) -> None:
        self._draft = draft
        self._lines_before = lines_before
        self._section_lines: dict[str, int] = {}

    def read(self, body: str) -> None:
        from markdown_it import MarkdownIt

        draft, before = self._draft, self._lines_before
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
                if not draft.title and token.tag == "h1":
                    draft.title = title
            elif token.type == "fence":
                self._block(token, heading, line)
            elif token.type == "list_item_open" and token.markup in (".", ")") and token.level == 1:
                items.append((heading, token))
        for position, (mark, line, title, start) in enumerate(marks):
            stop = marks[position + 1][1] - before - 1 if position + 1 < len(marks) else len(lines)
            prose = "\n".join(lines[start:stop]).strip()
            if title or prose:
                draft.sections.append(Section(mark.id, line, title, prose))
        if not draft.steps:
            for number, (mark, token) in enumerate(items, 1):
                first, last = token.map or [0, 0]
                text = re.sub(r"^\s*\d+[.)]\s*", "", "\n".join(lines[first:last])).strip()
                draft.steps.append(Instruction(f"item-{number}", before + first + 1, mark.id, text))
        if not draft.steps and not draft.problems:
            draft.error(1, "it has no steps", "Add a numbered list, or blocks ```check and ```run")

    # ------------------------------------------------------------ headings

    def _heading(self, content: str, line: int) -> tuple[_Heading, str]:
        found = _HEADING.fullmatch(content)
        if found is None:
            return _Heading(self._section_id(_slug(content), line, is_given=False)), content.strip()
        title, identity = found["title"].strip(), ""
        words: dict[str, str] = {}
        for word in found["attributes"].split():
            name, equals, value = word.partition("=")
            if word.startswith("#"):
                identity = word[1:]
            elif equals and name in _HEADING_WORDS and name not in words:
                words[name] = value
            else:
                self._draft.error(
                    line,
                    f"{word!r} is not an attribute of a heading",
                    "Use #id, effect=read, effect=write or approve=NAME, each once",
                )
        effect = self._draft.effect(words.get("effect"), line)
        section = self._section_id(identity or _slug(title), line, is_given=bool(identity))
        return _Heading(section, effect, words.get("approve")), title

    def _section_id(self, wanted: str, line: int, *, is_given: bool) -> str:
        if is_given and not _ID.fullmatch(wanted):
            self._draft.error(line, f"{wanted!r} is not an id", "Use lower case letters, digits, - and _")
        elif is_given and wanted in self._section_lines:
            first = self._section_lines[wanted]
            self._draft.error(line, f"the section id {wanted!r} was used in line {first}", "Choose another")
        while not is_given and wanted in self._section_lines:
            wanted += "-"
        self._section_lines[wanted] = line
        return wanted

    # ------------------------------------------------------------ fenced blocks

    def _block(self, token: Token, heading: _Heading, line: int) -> None:
        kind, *words = token.info.split() or [""]
        if kind not in _BLOCK_WORDS:
            return
        given: dict[str, str] = {}
        for word in words:
            name, equals, value = word.partition("=")
            if not equals or name not in _BLOCK_WORDS[kind]:
                known = ", ".join(sorted(_BLOCK_WORDS[kind]))
                self._draft.error(line, f"{word!r} is not known here", f"A {kind} block takes {known} as name=value")
            elif name in given:
                self._draft.error(line, f"{name} is given twice", "Keep one of them")
            else:
                given[name] = value
        identity = given.get("id", "")
        if not _ID.fullmatch(identity):
            what = f"{identity!r} is not an id" if identity else "the step has no id"
            self._draft.error(line, what, f"Write {kind} id=NAME with lower case letters, digits, - and _")
        other = next((step for step in self._draft.steps if step.id == identity), None)
        if other is not None:
            self._draft.error(line, f"the id {identity!r} was used in line {other.line}", "Choose another")
        keys, problems = read_mapping(token.content, line + 1)
        self._draft.problems += problems
        if problems:
            return
        if kind == "check":
            self._check(identity, heading, line, keys)
        else:
            self._run(identity, heading, line, given, keys)

    def _check(self, identity: str, heading: _Heading, line: int, keys: Keys) -> None:
        draft = self._draft
        kind = keys.get("kind")
        if kind not in CHECK_KINDS:
            at = keys.lines.get("kind", line)
            what = "the check has no kind" if kind is None else f"the kind {kind!r} is unknown"
            draft.error(at, what, f"Use one of {', '.join(CHECK_KINDS)}")
            return
        required, optional = CHECK_KINDS[kind]
        draft.check_keys(keys, _CHECK_KEYS | required | optional, f"a check of kind {kind}")
        for key in sorted(required - keys.keys()):
            draft.error(line, f"check {identity} has no {key}", f"A check of kind {kind} needs {key}: ...")
        if kind == "mcp":
            self._mcp(identity, line, keys)
        expect = keys.get("expect")
        retries = keys.get("retries", 0)
        if isinstance(retries, bool) or not isinstance(retries, int) or not 0 <= retries <= MAX_RETRIES:
            draft.error(keys.lines["retries"], f"retries is {retries!r}", f"Write a number from 0 to {MAX_RETRIES}")
            retries = 0
        draft.steps.append(
            Check(
                id=identity,
                line=line,
                section=heading.id,
                kind=cast("CheckKind", kind),
                options={key: value for key, value in keys.items() if key not in _CHECK_KEYS},
                expect=None if expect is None else scalar_text(expect),
                timeout_s=draft.duration_s(keys, "timeout") or 10.0,
                retries=retries,
                interval_s=draft.duration_s(keys, "interval") or 1.0,
                hold_s=draft.duration_s(keys, "for") or 0.0,
            )
        )
        if "argv" in keys:
            self._argv(keys)

    def _mcp(self, identity: str, line: int, keys: Keys) -> None:
        for key in ("arguments", "result"):
            if not isinstance(keys.get(key, {}), dict):
                self._draft.error(keys.lines[key], f"{key} is not a mapping", f"Write {key}: {{name: value}}")
        if not keys.get("result") and "measure" not in keys:
            text = f"check {identity} says nothing about the result of the tool, so any would pass"
            self._draft.error(line, text, "Add result: {name: value}, or measure: json.PATH and expect:")
        elif ("measure" in keys) != ("expect" in keys):
            text = f"check {identity} has one of measure and expect"
            self._draft.error(line, text, "Write both, for example measure: json.failed and expect: '== 0'; or neither")

    def _run(self, identity: str, heading: _Heading, line: int, given: Mapping[str, str], keys: Keys) -> None:
        draft = self._draft
        draft.check_keys(keys, _RUN_KEYS, "a run block")
        argv = self._argv(keys) if "argv" in keys else ()
        if "argv" not in keys:
            draft.error(line, f"step {identity} has no argv", "Write argv: [program, argument, ...]")
        environment = keys.get("env") or {}
        if not isinstance(environment, dict) or not all(isinstance(value, str) for value in environment.values()):
            draft.error(keys.lines["env"], "env is not a mapping of texts", "Write env: {NAME: value}")
            environment = {}
        undo = given.get("undo")
        draft.steps.append(
            Run(
                id=identity,
                line=line,
                section=heading.id,
                argv=argv,
                effect=draft.effect(given.get("effect"), line) or heading.effect or "write",
                approve=given.get("approve") or heading.approve or "default",
                undo=None if undo == "none" else undo,
                declares_undo=undo is not None,
                timeout_s=draft.parsed_duration_s(given["timeout"], line) if "timeout" in given else None,
                reason=draft.text(keys, "reason"),
                environment=dict(environment),
            )
        )

    def _argv(self, keys: Keys) -> tuple[str, ...]:
        argv, line = keys["argv"], keys.lines["argv"]
        is_words = isinstance(argv, list) and not any(part is None or isinstance(part, (list, dict)) for part in argv)
        if not is_words or not argv:
            fix = "Write argv: [program, argument, ...]; no shell is involved"
            self._draft.error(line, "argv is not a list of words", fix)
            return ()
        words = tuple(scalar_text(part) for part in argv)
        if SLOT.search(words[0]) or not words[0]:
            self._draft.error(line, "the program is not fixed", "Write the program's name itself, without a slot")
        return words


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60] or "section"
