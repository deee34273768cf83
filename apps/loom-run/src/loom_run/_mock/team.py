"""The mocks of a team: one that leads, and one that verifies.

The other agents are the mock that searches and quotes. They do not understand text either, but the
work is real: the researcher searches, and the verifier checks that the quoted line is in the file.
"""

import re

from loom_agents import ModelReply, ModelRequest, ToolCall, ToolMessage, UserMessage

_QUOTE = re.compile(r"([^\s()`'\"]+):(\d+)\b.*\n(?:\s*\n)?> ?(.+)")
_CHECK = re.compile(r"Check that line (\d+) of (\S+) reads: (.*)")


def lead_reply(request: ModelRequest) -> ModelReply:
    """Plan, delegate the work, have the answer verified, and combine the answers."""
    task, results = current_turn(request)
    number = len(request.messages)
    agents = next(spec for spec in request.tools if spec.name == "delegate").parameters["properties"]["agent"]["enum"]
    first = agents[0]
    checker = "verifier" if "verifier" in agents else agents[-1]
    if not results:
        plan = (
            f"The plan:\n1. {first} looks for an answer; {checker} looks at the state of the repository meanwhile.\n"
            f"2. {checker} checks what {first} quotes.\n3. I combine the answers."
        )
        look = "Look whether anything is changed here."
        return ModelReply(plan, (_delegate(number, 1, first, task), _delegate(number, 2, checker, look)))
    found = _answer_of(results[0])
    quoted = _QUOTE.search(found)
    if len(results) == 2 and quoted:
        check = f"Check that line {quoted[2]} of {quoted[1]} reads: {quoted[3]}"
        return ModelReply(f"{first} quotes {quoted[1]}. I have it checked.", (_delegate(number, 1, checker, check),))
    parts = [f"{first} says:\n{found}", *(f"{checker} says: {_answer_of(result)}" for result in results[1:])]
    return ModelReply("\n\n".join(parts))


def verify_reply(request: ModelRequest) -> ModelReply:
    """Compare a quoted line with the file, or report whether anything is changed."""
    task, results = current_turn(request)
    check = _CHECK.search(task)
    call_id = f"call-{len(request.messages)}"
    if not results:
        if check is None:
            return ModelReply("I look at the repository.", (ToolCall(call_id, "git_status", {}),))
        arguments = {"path": check[2], "offset": int(check[1]), "limit": 1}
        return ModelReply("I read the line.", (ToolCall(call_id, "read_file", arguments),))
    last = results[-1]
    if last.outcome != "success":
        return ModelReply(f"I could not check it: {last.payload}")
    if check is None:
        changed = [line for line in last.payload["output"].splitlines() if not line.startswith("##")]
        return ModelReply("Something is changed: " + ", ".join(changed) if changed else "Nothing is changed here.")
    is_right = last.payload["text"].strip() == check[3].strip()
    return ModelReply(f"{check[2]}:{check[1]} {'reads' if is_right else 'does not read'} as it was quoted.")


def current_turn(request: ModelRequest) -> tuple[str, list[ToolMessage]]:
    """Return the user's last message and the tool results since then."""
    results: list[ToolMessage] = []
    for message in reversed(request.messages):
        if isinstance(message, UserMessage):
            return message.text, results
        if isinstance(message, ToolMessage):
            results.insert(0, message)
    return "", results


def _delegate(number: int, place: int, agent: str, task: str) -> ToolCall:
    return ToolCall(f"call-{number}-{place}", "delegate", {"agent": agent, "task": task})


def _answer_of(result: ToolMessage) -> str:
    return str(result.payload["answer"] if result.outcome == "success" else result.payload)
