"""What a person reads about chats afterwards: how a turn ended, the list, the conversation, the explanation."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from loom_agents import (
    INPUT_SIGNAL,
    MESSAGE_SIGNAL,
    AssistantMessage,
    MessageFormatError,
    SummaryMessage,
    ToolMessage,
    Usage,
)
from loom_runner import SQLiteStore
from loom_runner.cli_base import Output, plural, shorten, styled_status, write_error, write_json, write_line, write_rows

from loom_run._approvals import name_of, preview, requests_of
from loom_run._chat import Conversation
from loom_run._errors import LoomRunError
from loom_run._lines import argument_text, printable, result_text
from loom_run._reader import reader
from loom_run._turn import Turn, standing_of, state_of


def ending(turn: Turn, *, again: str, resume: str) -> str:
    """Say in one line how a turn ended and what to type next.

    Args:
        turn: how the conversation stands.
        again: the command that sends another message.
        resume: the command that goes on.
    """
    name = turn.run_id
    if turn.standing == "answered":
        if turn.was_stored:
            return f'{name} had answered this before; nothing was run.  Go on: {again} "..."'
        return f'{plural(turn.step_index, "step")}, {usage_text(turn.state.total_usage)}.  Go on: {again} "..."'
    if turn.standing == "limit" and turn.limit is not None:
        return f"{name} stopped: {turn.limit}.  Go on: {_with_more(resume, turn)}"
    if turn.standing == "failed" and turn.error is not None:
        error = f"{turn.error['type']}: {shorten(turn.error['message'], 300)}"
        return printable(f"{name} failed in step {turn.step_index}: {error}  Try again: {resume}")
    if turn.standing == "approval":
        return _approvals_wanted(turn, resume)
    if turn.standing == "question":
        return printable(f'{name} asks: {turn.question}\nAnswer: {again} "..."')
    if turn.standing == "waiting" and "doubt" in (turn.wait or {}):
        return f"{name} waits for a word about an interrupted tool call: loom-runner doubts, then {resume}"
    if turn.standing == "waiting" and turn.wait is not None and "children" in turn.wait:
        return f"{name} waits for {', '.join(turn.wait['children'])}.  Go on: {resume}"
    return f"{name} is {turn.standing} before step {turn.step_index}.  Go on: {resume}"


def _approvals_wanted(turn: Turn, resume: str) -> str:
    """Say which calls wait, and the commands that answer."""
    lines = [f"{turn.run_id} waits for your word about {plural(len(turn.pending), 'call')}:"]
    for request in turn.pending:
        lines.append(f"  {name_of(request)}")
        lines += [f"    {line}" for line in preview(request["tool"], request["arguments"])]
    several = " --all" if len(turn.pending) > 1 else ""
    approve, deny = (resume.replace("loom-run resume", f"loom-run {verb}", 1) for verb in ("approve", "deny"))
    lines.append(f'Answer: {approve}{several}   or: {deny}{several} --note "..."   Then: {resume}')
    return "\n".join(lines)


def usage_text(usage: Usage) -> str:
    """Write tokens and price for a person."""
    cached = f" ({usage.cache_read_tokens:,} cached)" if usage.cache_read_tokens else ""
    price = "price not known" if usage.cost_usd is None else f"${usage.cost_usd:.4f}" if usage.cost_usd else "$0"
    return f"{usage.input_tokens:,} in{cached} / {usage.output_tokens:,} out tokens, {price}"


def write_runs(store: SQLiteStore, output: Output) -> None:
    """List the chats of a database."""
    columns = {
        "run": lambda row: row["run_id"],
        "status": lambda row: styled_status(row["status"]),
        "turns": lambda row: str(row["turn"]),
        "steps": lambda row: str(row["step_index"]),
        "changed": lambda row: _local(row["updated_at"]),
        "last message": lambda row: printable(shorten(row["message"] or "", 200)),
    }
    write_rows(_chats(store), columns, output, empty="no chats yet. Start one: loom-run chat ...")


def _chats(store: SQLiteStore) -> Iterator[dict[str, Any]]:
    for row in reader(store).list(limit=1000):
        try:
            state = state_of(row["run_id"], row["state"])
        except (LoomRunError, MessageFormatError):
            continue  # a run of another program, or of a later version
        yield {
            "run_id": row["run_id"],
            "status": standing_of(row["status"], row["wait"], row["error"]),
            "turn": state.turn,
            "step_index": row["step_index"],
            "updated_at": row["updated_at"],
            "message": state.last_user_text,
            "usage": state.usage.to_json(),
        }


def write_conversation(store: SQLiteStore, run_id: str, output: Output) -> None:
    """Write one conversation, message by message."""
    turn = Conversation(store, run_id).look()
    messages = turn.state.to_json()["conversation"]["messages"]
    if output == "jsonl":
        for message in messages:
            write_json(message, "jsonl")
        return
    if output == "json":
        write_json(turn.to_json() | {"messages": messages, "setup": dict(turn.state.setup)})
        return
    arguments: dict[str, Mapping[str, Any]] = {}
    for message in turn.state.messages:
        if isinstance(message, ToolMessage):
            what = argument_text(arguments.get(message.call_id, {}))
            success = message.outcome == "success"
            result = result_text(message.name, message.payload) if success else f"{message.outcome}: {message.payload}"
            write_line(printable(f"  {message.name}  {shorten(what, 60)}  {shorten(result, 200)}".rstrip()))
        elif isinstance(message, AssistantMessage):
            arguments |= {call.id: call.arguments for call in message.tool_calls}
            if message.text:
                write_line(printable(message.text))
        elif isinstance(message, SummaryMessage):
            write_line(printable(f"[{plural(message.replies, 'reply', 'replies')} before, summed up] {message.text}"))
        else:
            write_line(printable(f"> {message.text}"))
    write_line(f"-- {turn.standing}, {plural(turn.step_index, 'step')}, {usage_text(turn.state.total_usage)}")


def write_explanation(store: SQLiteStore, run_id: str, output: Output, *, again: str, resume: str) -> None:
    """Tell what happened to a run, in the words of a chat. `again` and `resume` as for `ending`."""
    story = _explained(store, run_id, again=again, resume=resume)
    if output != "text":
        write_json(story.data, output)
        return
    rows = [row for row in story.lines() if row[0] != "child"]  # the lines about agents say more
    rows += [("agent", line, "") for line in _team_lines(story.data["team"])]
    rows += [("asked", line, "") for line in map(_decided, story.data["approvals"])]
    if story.data["status"] == "answered":
        rows.append(("answer", story.data["result"], ""))
    lines = [(what, printable(_in_chat_words(text)), at) for what, text, at in rows]
    wide = max((len(what) for what, _, _ in lines), default=0)
    longest = max((len(text) for _, text, at in lines if at), default=0)
    write_line(f"{run_id}  {styled_status(story.data['status'])}  {story.data['summary']}")
    for what, text, at in lines:
        write_line(f"  {what:<{wide}}  " + (f"{text:<{longest}}  {at}" if at else text))
    for what, command in story.data["next"].items():
        write_error(f"{what}: {command}")


def _explained(store: SQLiteStore, run_id: str, *, again: str, resume: str) -> Any:
    story = reader(store).explain_run(run_id)
    try:
        turn = Conversation(store, run_id).look()
    except LoomRunError:
        return replace(story, data=story.data | {"team": [], "approvals": []})  # a run of another program
    requests = [dict(request) for request in requests_of(store, run_id, pending_only=False)]
    facts = story.data | {"status": turn.standing, "team": _team(store, run_id), "approvals": requests}
    if turn.standing == "answered":
        # The wait for the next message is not part of the story; only waits between turns are.
        events = facts["events"]
        facts["events"] = events[:-1] if events and events[-1]["what"] == "waited" else events
        facts |= {"waits": None, "result": shorten(turn.answer or "", 200), "next": {"go on": f'{again} "..."'}}
    elif turn.standing == "limit" and turn.limit is not None:
        facts |= {"error": turn.limit, "next": {"go on": _with_more(resume, turn)}}
    elif "go on" in facts["next"]:
        facts["next"] = {"go on": resume}
    return replace(story, data=facts)


def _decided(request: Mapping[str, Any]) -> str:
    """Tell in one line what was asked and who decided it."""
    words = {"approve": "allowed", "edit": "allowed with other arguments", "deny": "denied"}
    said = [
        f"{words[decision['how']]} by {decision['by']}" + (f": {decision['note']}" if decision["note"] else "")
        for decision in request["decisions"]
    ]
    return f"{name_of(request)}  {', '.join(said) or request['status']}"


def _team(store: SQLiteStore, run_id: str) -> list[dict[str, Any]]:
    """Tell how the runs stand that a run has started, and those that they have started."""
    found = []
    for row in reader(store).children(run_id):
        try:
            state = state_of(row["run_id"], row["state"])
        except (LoomRunError, MessageFormatError):
            continue
        found.append(
            {
                "run_id": row["run_id"],
                "status": standing_of(row["status"], row["wait"], row["error"]),
                "step_index": row["step_index"],
                "usage": state.total_usage.to_json(),
                "task": state.last_user_text,
                "answer": state.answer,
                "team": _team(store, row["run_id"]),
            }
        )
    return found


def _team_lines(team: list[dict[str, Any]], depth: int = 0) -> Iterator[str]:
    for member in team:
        steps = plural(member["step_index"], "step")
        said = member["answer"] or member["task"] or ""
        yield f"{'  ' * depth}{member['run_id']}  {member['status']}  {steps}  {shorten(said, 100)}"
        yield from _team_lines(member["team"], depth + 1)


def _with_more(resume: str, turn: Turn) -> str:
    return resume if turn.limit_option is None else f"{resume} {turn.limit_option} N"


def _in_chat_words(text: str) -> str:
    """Say what a chat waits for without the names of signals."""
    for signal, words in {
        MESSAGE_SIGNAL: "the next message",
        INPUT_SIGNAL: "an answer of the user",
    }.items():
        text = text.replace(f"signal {signal!r}", words)
    return re.sub(r"the budget of \S+ \S+ is used up", "a limit is reached", text)


def _local(at: str) -> str:
    return datetime.fromisoformat(at).astimezone().strftime("%Y-%m-%d %H:%M")
