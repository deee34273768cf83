"""The mock of a team: one that leads, and one that verifies. The others are the mock that searches and quotes.

They understand nothing, either, but everything that they say happened: the researcher really searches, the verifier
really looks whether the quoted line is where it is said to be.
"""

import re

from loom_agents import ModelReply, ModelRequest, ToolCall, ToolMessage, UserMessage

_PLACE = re.compile(r"([^\s()`'\"]+):(\d+)\b.*\n(?:\s*\n)?> ?(.+)")
_CHECK = re.compile(r"Check that line (\d+) of (\S+) reads: (.*)")


def led(request: ModelRequest) -> ModelReply:
    """Plan, give the work out, have the answer verified, put all of it together."""
    task, results = this_turn(request)
    number = len(request.messages)
    agents = next(spec for spec in request.tools if spec.name == "delegate").parameters["properties"]["agent"]["enum"]
    first = agents[0]
    checker = "verifier" if "verifier" in agents else agents[-1]
    if not results:
        plan = (
            f"The plan:\n1. {first} looks for an answer; {checker} looks at the state of the repository meanwhile.\n"
            f"2. {checker} checks what {first} quotes.\n3. I put it together."
        )
        return ModelReply(
            plan,
            (_errand(number, 1, first, task), _errand(number, 2, checker, "Look whether anything is changed here.")),
        )
    found = _said(results[0])
    quoted = _PLACE.search(found)
    if len(results) == 2 and quoted:
        check = f"Check that line {quoted[2]} of {quoted[1]} reads: {quoted[3]}"
        return ModelReply(f"{first} quotes {quoted[1]}. I have it checked.", (_errand(number, 1, checker, check),))
    parts = [f"{first} says:\n{found}", *(f"{checker} says: {_said(result)}" for result in results[1:])]
    return ModelReply("\n\n".join(parts))


def verified(request: ModelRequest) -> ModelReply:
    """Compare a quoted line with the file, or tell whether anything is changed."""
    task, results = this_turn(request)
    check = _CHECK.search(task)
    name = f"call-{len(request.messages)}"
    if not results:
        if check is None:
            return ModelReply("I look at the repository.", (ToolCall(name, "git_status", {}),))
        arguments = {"path": check[2], "offset": int(check[1]), "limit": 1}
        return ModelReply("I read the place.", (ToolCall(name, "read_file", arguments),))
    last = results[-1]
    if last.outcome != "success":
        return ModelReply(f"I could not check it: {last.payload}")
    if check is None:
        changed = [line for line in last.payload["output"].splitlines() if not line.startswith("##")]
        return ModelReply("Something is changed: " + ", ".join(changed) if changed else "Nothing is changed here.")
    is_right = last.payload["text"].strip() == check[3].strip()
    return ModelReply(f"{check[2]}:{check[1]} {'reads' if is_right else 'does not read'} as it was quoted.")


def this_turn(request: ModelRequest) -> tuple[str, list[ToolMessage]]:
    """Give the user's last message and the tool results since then."""
    results: list[ToolMessage] = []
    for message in reversed(request.messages):
        if isinstance(message, UserMessage):
            return message.text, results
        if isinstance(message, ToolMessage):
            results.insert(0, message)
    return "", results


def _errand(number: int, place: int, agent: str, task: str) -> ToolCall:
    return ToolCall(f"call-{number}-{place}", "delegate", {"agent": agent, "task": task})


def _said(result: ToolMessage) -> str:
    return str(result.payload["answer"] if result.outcome == "success" else result.payload)
