"""Explain what happened in a run, in the terms of a chat."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from flow_xray.terminal import visible_line
from loom_agents import INPUT_SIGNAL, MESSAGE_SIGNAL, MessageFormatError
from loom_runner import Runs, SQLiteStore
from loom_runner.cli_base import Output, plural, shorten, styled_status, write_error, write_json, write_line

from loom_run._chat.approvals import approval_requests, request_label
from loom_run._chat.conversation import Conversation
from loom_run._chat.turn import chat_state, chat_status
from loom_run._errors import LoomRunError
from loom_run._report.approvals import decision_text
from loom_run._report.turn_ending import with_limit_option


def write_explanation(store: SQLiteStore, run_id: str, output: Output, *, again: str, resume: str) -> None:
    """Explain what happened in a run. `again` and `resume` are those of `ending`."""
    explanation = _explanation(store, run_id, again=again, resume=resume)
    if output != "text":
        write_json(explanation.data, output)
        return
    rows = [row for row in explanation.lines() if row[0] != "child"]  # the lines about agents have more details
    rows += [("agent", line, "") for line in _team_lines(explanation.data["team"])]
    rows += [("approval", line, "") for line in map(_decisions, explanation.data["approvals"])]
    if explanation.data["status"] == "answered":
        rows.append(("answer", explanation.data["result"], ""))
    lines = [(what, visible_line(_in_chat_terms(text)), at) for what, text, at in rows]
    wide = max((len(what) for what, _, _ in lines), default=0)
    longest = max((len(text) for _, text, at in lines if at), default=0)
    write_line(f"{run_id}  {styled_status(explanation.data['status'])}  {explanation.data['summary']}")
    for what, text, at in lines:
        write_line(f"  {what:<{wide}}  " + (f"{text:<{longest}}  {at}" if at else text))
    for what, command in explanation.data["next"].items():
        write_error(f"{what}: {command}")


def _explanation(store: SQLiteStore, run_id: str, *, again: str, resume: str) -> Any:
    explanation = Runs(store).explain(run_id)
    try:
        turn = Conversation(store, run_id).read()
    except LoomRunError:
        return replace(explanation, data=explanation.data | {"team": [], "approvals": []})  # of another program
    requests = [dict(request) for request in approval_requests(store, run_id, pending_only=False)]
    facts = explanation.data | {"status": turn.status, "team": _team(store, run_id), "approvals": requests}
    if turn.status == "answered":
        # The wait for the next message is not part of what happened; only waits between turns are.
        events = facts["events"]
        facts["events"] = events[:-1] if events and events[-1]["what"] == "waited" else events
        facts |= {"waits": None, "result": shorten(turn.answer or "", 200), "next": {"resume": f'{again} "..."'}}
    elif turn.status == "limit" and turn.limit is not None:
        facts |= {"error": turn.limit, "next": {"resume": with_limit_option(resume, turn)}}
    elif "resume" in facts["next"]:
        facts["next"] = {"resume": resume}
    return replace(explanation, data=facts)


def _decisions(request: Mapping[str, Any]) -> str:
    """Describe in one line which call needed approval and who decided."""
    made = [
        f"{decision_text(decision)} by {decision['by']}" + (f": {decision['note']}" if decision["note"] else "")
        for decision in request["decisions"]
    ]
    return f"{request_label(request)}  {', '.join(made) or request['status']}"


def _team(store: SQLiteStore, run_id: str) -> list[dict[str, Any]]:
    """Describe the child runs of a run, and theirs."""
    found = []
    for row in Runs(store).children(run_id):
        try:
            state = chat_state(row["run_id"], row["state"])
        except (LoomRunError, MessageFormatError):
            continue
        found.append(
            {
                "run_id": row["run_id"],
                "status": chat_status(row["status"], row["wait"], row["error"]),
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
        text = member["answer"] or member["task"] or ""
        yield f"{'  ' * depth}{member['run_id']}  {member['status']}  {steps}  {shorten(text, 100)}"
        yield from _team_lines(member["team"], depth + 1)


def _in_chat_terms(text: str) -> str:
    """Replace the names of signals and budgets by the terms of a chat."""
    for signal, words in {
        MESSAGE_SIGNAL: "the next message",
        INPUT_SIGNAL: "an answer of the user",
    }.items():
        text = text.replace(f"signal {signal!r}", words)
    return re.sub(r"the budget of \S+ \S+ is used up", "a limit is reached", text)
