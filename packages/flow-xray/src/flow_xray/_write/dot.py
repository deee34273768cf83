"""Write a trace as a Graphviz graph, folded by function: nodes are functions, edges are calls.

A tree of 100,000 calls is too large for `dot` and for a reader. Folded by name and kind it shows
the structure of the program: who called whom, how often, how long it took, what failed.
"""

from dataclasses import dataclass

from flow_xray._data.format import human_duration
from flow_xray._data.trace_data import TraceData

_SHAPES = {"llm": "box", "tool": "component", "agent": "doubleoctagon", "wait": "octagon", "retrieval": "cylinder"}


@dataclass(slots=True)
class _Node:
    name: str
    kind: str
    calls: int = 0
    errors: int = 0
    time_ns: int = 0
    tokens: int = 0


def dot(trace: TraceData) -> str:
    """Return the text of a digraph of a frozen trace."""
    nodes: dict[tuple[str, str], _Node] = {}
    edges: dict[tuple[tuple[str, str], tuple[str, str]], int] = {}
    key_of = {span.id: (span.kind, span.name) for span in trace.spans}
    for span in trace.spans:
        key = key_of[span.id]
        node = nodes.setdefault(key, _Node(span.name, span.kind))
        node.calls += 1
        node.errors += span.status == "error"
        node.time_ns += span.duration_ns or 0
        for name in ("input_tokens", "output_tokens"):
            count = span.meta.get(name)
            node.tokens += count if type(count) is int else 0
        caller = key_of.get(span.parent_id or "")
        if caller is not None:
            edges[caller, key] = edges.get((caller, key), 0) + 1
    number = {key: index for index, key in enumerate(nodes)}
    lines = [f"digraph {_quoted(trace.name)} {{", '  node [fontname="sans-serif", shape=ellipse];', "  rankdir=LR;"]
    for key, node in nodes.items():
        shape = _SHAPES.get(node.kind)
        style = (f", shape={shape}" if shape else "") + (', color="#b42318"' if node.errors else "")
        lines.append(f"  n{number[key]} [label={_quoted(_label(node))}{style}];")
    for (caller, key), count in edges.items():
        label = f" [label={_quoted(f'{count:,}×')}]" if count > 1 else ""
        lines.append(f"  n{number[caller]} -> n{number[key]}{label};")
    return "\n".join([*lines, "}"]) + "\n"


def _label(node: _Node) -> str:
    facts = [node.kind, f"{node.calls:,}×" if node.calls > 1 else "", human_duration(node.time_ns / 1e6)]
    facts += [f"{node.tokens:,} tokens" if node.tokens else "", f"{node.errors:,} failed" if node.errors else ""]
    return f"{node.name[:80]}\n{', '.join(fact for fact in facts if fact)}"


def _quoted(text: str) -> str:
    """Return a quoted id.

    Backslashes are doubled, because dot has escapes (`\\N` is the name of a node).
    """
    plain = "".join(" " if ord(letter) < 32 and letter != "\n" else letter for letter in text)
    plain = plain.encode("utf-8", "replace").decode("utf-8")
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
