"""A stdio MCP server (protocol of 2025) without a library, which misbehaves on request.

Its arguments: `tools=N` (that many, in pages of 50), `long` (80-character names), `mute` (never
answers), `exit=CODE`, `flood` (writes megabytes to stderr), `garbage` (writes lines that are not
JSON), `effects=FILE` (a line for each call that takes effect), `once=FILE` (dies only in its first
process), `silent` (closes stderr), `loop` (lists endless pages), `schema` (has an invalid one).
"""

import json
import os
import sys
import time
from pathlib import Path

flags = dict(word.partition("=")[::2] for word in sys.argv[1:])


def say(message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def tool(name, description="", schema=None, **hints):
    schema = schema or {"type": "object", "properties": {}}
    return {"name": name, "description": description, "inputSchema": schema, "annotations": hints}


TEXT = {
    "type": "object",
    "properties": {"text": {"type": "string"}},
    "required": ["text"],
    "additionalProperties": False,
}
TOOLS = [
    tool("echo", flags.get("description", "Say it again."), TEXT, readOnlyHint=True),
    tool("write", "Leave a line.", TEXT),
    tool("die", "End in the middle.", TEXT),
    tool("die_reading", "End in the middle of reading.", TEXT, readOnlyHint=True),
    tool("hang", "Never answer."),
    tool("hang_reading", "Never answer.", readOnlyHint=True),
    tool("slow", "Report progress.", readOnlyHint=True),
    tool("fails", "Fail."),
    tool("refuses", "Answer with a protocol error."),
    tool("picture", "Give a picture.", readOnlyHint=True),
    tool("big", "Give a long text.", readOnlyHint=True),
    tool("structured", "Give an object.", readOnlyHint=True),
    tool("environment", "Give the names of the variables.", readOnlyHint=True),
]
if "tools" in flags:
    TOOLS = [tool(f"tool_{number:03}", "One of many.", readOnlyHint=True) for number in range(int(flags["tools"]))]
if "long" in flags:
    TOOLS = [tool("n" * 79 + str(number), "A long name.", readOnlyHint=True) for number in range(3)]
if "schema" in flags:
    TOOLS = [
        tool("bad", schema={"type": "object", "properties": {"a": {"type": "nonsense"}}}),
        TOOLS[0],
    ]
if "remote" in flags:
    TOOLS = [tool("remote", schema={"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:1/x"}}})]
if "echo2" in flags:
    TOOLS[0] = tool(
        "echo",
        "Say it twice.",
        {**TEXT, "properties": {"text": {"type": "string"}, "times": {"type": "integer"}}},
        readOnlyHint=True,
    )


def effect(text):
    with Path(flags["effects"]).open("a") as out:
        out.write(text + "\n")


def result(number, content, **more):
    say({"id": number, "result": {"content": content, **more}})


def call(number, params):
    name, arguments = params["name"], params.get("arguments") or {}
    text = [{"type": "text", "text": arguments.get("text", "")}]
    if name == "write":
        effect(arguments["text"])
    if name in ("die", "die_reading"):
        first = "once" not in flags or not Path(flags["once"]).exists()
        if "once" in flags:
            Path(flags["once"]).touch()
        effect(name)
        if first:
            sys.stderr.write("I crash\n")
            os._exit(3)
    if name.startswith("hang"):
        effect("hang")
        return
    if name == "slow":
        token = params["_meta"]["progressToken"]
        for done in (1, 2):
            say(
                {
                    "method": "notifications/progress",
                    "params": {"progressToken": token, "progress": done, "total": 2, "message": f"part {done}"},
                }
            )
    if name == "refuses":
        return say({"id": number, "error": {"code": -32602, "message": "not like this"}})
    if name == "picture":
        return result(
            number, [{"type": "text", "text": "here"}, {"type": "image", "data": "aGVsbG8=", "mimeType": "image/png"}]
        )
    if name == "big":
        text = [{"type": "text", "text": "x" * 100_000}]
    if name == "structured":
        return result(number, [{"type": "text", "text": '{"a": 1}'}], structuredContent={"a": 1})
    if name == "environment":
        text = [{"type": "text", "text": " ".join(sorted(os.environ))}]
    result(number, text, isError=name == "fails")


def answer(message):
    method, number = message.get("method"), message.get("id")
    if number is None:
        if method == "notifications/cancelled" and "effects" in flags:
            effect("cancelled")
        return
    if method == "initialize":
        about = {
            "protocolVersion": "2025-06-18",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "bare", "version": "1"},
        }
        say({"id": number, "result": about})
    elif method == "tools/list":
        first = int(message.get("params", {}).get("cursor", 0))
        page = {"tools": TOOLS[first : first + 50]}
        if first + 50 < len(TOOLS):
            page["nextCursor"] = str(first + 50)
        if "loop" in flags:
            page = {"tools": TOOLS[:1], "nextCursor": str(first + 1)}
        say({"id": number, "result": page})
    elif method == "tools/call":
        call(number, message["params"])
    else:
        say({"id": number, "error": {"code": -32601, "message": "no such method"}})


if "exit" in flags:
    sys.stderr.write("no licence\n")
    sys.exit(int(flags["exit"]))
if "silent" in flags:
    os.close(2)
if "flood" in flags:
    for _ in range(64):
        os.write(2, b"noise " * 10_000 + b"\n")
if "garbage" in flags:
    sys.stdout.write("Welcome!\n{]\n")
    sys.stdout.flush()
if "mute" in flags:
    time.sleep(600)
for line in sys.stdin:
    answer(json.loads(line))
