"""The order of what a stream sends."""

from typing import Any

from loom_agents._serve.stream import Inbox


def test_what_was_said_in_a_step_is_not_sent_after_the_step() -> None:
    inbox = Inbox("r")
    deltas: list[dict[str, Any]] = [
        {"run_id": run_id, "step_index": step, "type": "text"} for run_id, step in (("r", 2), ("r", 3), ("r2", 2))
    ]
    inbox.deltas.extend(deltas)
    inbox.drop_deltas("r", 2)
    assert list(inbox.deltas) == deltas[1:]
