"""Readings from the field go to a server over a network that comes and goes. No model anywhere: a
plain state machine.

    python examples/field_sync.py

You see sessions: the device wakes up, sends what it can, loses the network in the middle, and goes
to sleep. The run stands in a file on the device, so each session begins where the last one ended.
Some answers of the server get lost on the way back; the reading is then sent again under the same
key, and the server knows it. At the end every reading is there once.
"""

import asyncio
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from loom import tailrec
from loom_runner import AgentRunner, RetryPolicy, SQLiteStore, ToolFailed, tool

READINGS = tuple(20 + number % 5 for number in range(12))


class Server:
    """Somebody else's server: it keeps one reading for each key, however often it comes."""

    def __init__(self) -> None:
        """Begin empty."""
        self.kept: dict[str, int] = {}
        self.requests = 0


class Network:
    """A network that works for a while, then is gone until the next session."""

    def __init__(self) -> None:
        """Begin without a connection."""
        self.requests_left = 0

    def pass_on(self) -> None:
        """Carry one message, or fail."""
        self.requests_left -= 1
        if self.requests_left < 0:
            raise ConnectionError("no network")


server, network = Server(), Network()


@tool(idempotent=True)
async def send(number: int, reading: int, idempotency_key: str = "") -> int:  # noqa: ARG001 (the number names it)
    """Send one reading; give what the server has in all."""
    network.pass_on()
    server.requests += 1
    server.kept[idempotency_key] = reading
    if server.requests % 3 == 0:
        raise ConnectionError("the answer got lost")  # the server has it, and we do not know
    return len(server.kept)


@dataclass(frozen=True)
class Sync:
    """What is still on the device."""

    next: int = 0
    sent: int = 0


@tailrec
async def sync(state: Sync) -> Sync:
    """Send one reading after the other; each call is a step, and a checkpoint."""
    if state.next == len(READINGS):
        return state
    on_server = await send(state.next, READINGS[state.next])
    return await sync(replace(state, next=state.next + 1, sent=on_server))


def no_network(error: BaseException) -> bool:
    """Try again what may pass, but end the session when there is no network at all."""
    return isinstance(error, ToolFailed) and error.retryable and "no network" not in error.message


async def session(path: Path, requests: int) -> str:
    """Wake up, send until the network is gone, go to sleep."""
    network.requests_left = requests
    retry = RetryPolicy(max_attempts=10, initial_s=0, should_retry=no_network)
    with SQLiteStore(path) as store:
        runner = AgentRunner(loop=sync, store=store, retry=retry)
        result = await runner.start(run_id="device-7", initial_state=Sync())
        if result.status == "failed":  # that was the session before; go on from its last step
            result = await runner.resume(run_id="device-7")
        return f"{result.status:<9}  step {result.step_index:>2}"


def main() -> None:
    """Let the device wake up until everything is sent."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1, 20):
            stands = asyncio.run(session(Path(folder) / "runs.sqlite", requests=5))
            print(f"session {number}: {stands}, {len(server.kept):>2} of {len(READINGS)} readings on the server")
            if stands.startswith("completed"):
                break
    print(f"{server.requests} requests came through, {len(server.kept)} readings are kept, each once")


if __name__ == "__main__":
    main()
