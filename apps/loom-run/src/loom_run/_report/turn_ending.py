"""Describe in one line how a turn ended, and the next command."""

from flow_xray.terminal import visible, visible_line
from loom_agents import Usage
from loom_runner.cli_base import plural, shorten

from loom_run._chat.approvals import request_label
from loom_run._chat.turn import Turn
from loom_run._report.approvals import preview


def ending(turn: Turn, *, again: str, resume: str) -> str:
    """Describe in one line how a turn ended, and the next command.

    Args:
        turn: The conversation.
        again: The command that sends another message.
        resume: The command that resumes the run.
    """
    name = turn.run_id
    if turn.status == "answered":
        if turn.was_stored:
            return f'{name} has already answered this; nothing was run.  Continue: {again} "..."'
        return f'{plural(turn.step_index, "step")}, {usage_text(turn.state.total_usage)}.  Continue: {again} "..."'
    if turn.status == "limit" and turn.limit is not None:
        return f"{name} stopped: {turn.limit}.  Resume: {with_limit_option(resume, turn)}"
    if turn.status == "failed" and turn.error is not None:
        error = f"{turn.error['type']}: {shorten(turn.error['message'], 300)}"
        return visible(f"{name} failed in step {turn.step_index}: {error}  Try again: {resume}")
    if turn.status == "approval":
        return _approvals_needed(turn, resume)
    if turn.status == "question":
        return visible(f'{name} asks: {turn.question}\nAnswer: {again} "..."')
    if turn.status == "waiting" and "doubt" in (turn.wait or {}):
        return f"{name} waits for a decision about a tool call in doubt: loom-runner doubts, then {resume}"
    if turn.status == "waiting" and turn.wait is not None and "children" in turn.wait:
        return f"{name} waits for {', '.join(turn.wait['children'])}.  Resume: {resume}"
    return f"{name} is {turn.status} before step {turn.step_index}.  Resume: {resume}"


def usage_text(usage: Usage) -> str:
    """Write tokens and cost for a person."""
    cached = f" ({usage.cache_read_tokens:,} cached)" if usage.cache_read_tokens else ""
    cost = "cost unknown" if usage.cost_usd is None else f"${usage.cost_usd:.4f}" if usage.cost_usd else "$0"
    return f"{usage.input_tokens:,} in{cached} / {usage.output_tokens:,} out tokens, {cost}"


def with_limit_option(resume: str, turn: Turn) -> str:
    """Add the option that raises the limit which was reached, if there is one."""
    return resume if turn.limit_option is None else f"{resume} {turn.limit_option} N"


def _approvals_needed(turn: Turn, resume: str) -> str:
    """List the calls that wait for approval, and the commands that decide."""
    lines = [f"{turn.run_id} waits for your approval of {plural(len(turn.pending), 'call')}:"]
    for request in turn.pending:
        reason = "" if request["reason"].startswith("mode ") else f": {visible_line(request['reason'])}"
        lines.append(f"  {request_label(request)}{reason}")
        lines += [f"    {line}" for line in preview(request["tool"], request["arguments"])]
    several = " --all" if len(turn.pending) > 1 else ""
    approve, deny = (resume.replace("loom-run resume", f"loom-run {verb}", 1) for verb in ("approve", "deny"))
    lines.append(f'Decide: {approve}{several}   or: {deny}{several} --note "..."   Then: {resume}')
    return "\n".join(lines)
