"""Payments that need two people: what ran, how often, who allowed it and why, all from one SQLite
file.

    python examples/audit_runner.py

You see a run that stops before it pays, because the policy (a gate) asks for two approvals above
1,000. It waits in the database, not in a process. Ann and Bob approve, the run goes on, and the
payment is made once. Then the audit: the requests with their decisions, the ledger, and every row
of the run as lines of JSON.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from loom_runner import (
    AgentRunner,
    Allow,
    Ask,
    Complete,
    Continue,
    Deny,
    PendingCall,
    RunContext,
    SQLiteStore,
    ToolFailed,
    ToolRegistry,
)

tools = ToolRegistry()


@dataclass(frozen=True)
class State:
    """Invoices that are still to be paid, and receipts."""

    open: tuple[int, ...] = (400, 2500, 90_000)
    receipts: tuple[str, ...] = ()


def policy(call: PendingCall) -> Allow | Ask | Deny:
    """Decide about a call before it is made. Pure: it looks at the call and at nothing else."""
    amount = call.arguments.get("amount", 0)
    if amount > 50_000:
        return Deny("nobody may pay more than 50,000 from here")
    return Ask("above 1,000", needed=2, ttl_s=3600) if amount > 1_000 else Allow()


@tools.tool("pay", on_doubt="ask")
async def pay(amount: int, idempotency_key: str) -> str:
    """Pay. The bank gets the key, so that it can refuse a second payment of the same invoice."""
    return f"paid {amount} ({idempotency_key})"


async def step(state: State, ctx: RunContext) -> Continue[State] | Complete[list[str]]:
    """Pay one invoice."""
    if not state.open:
        return Complete(list(state.receipts))
    amount, *rest = state.open
    try:
        receipt = await ctx.call_tool("pay", amount=amount)
    except ToolFailed as refused:
        receipt = f"{amount} refused: {refused.message}"
    return Continue(replace(state, open=tuple(rest), receipts=(*state.receipts, receipt)))


def build_runner(db_path: str) -> AgentRunner:
    """Put the step, its tools, the policy and a database together."""
    return AgentRunner(step=step, store=SQLiteStore(db_path), tools=tools, gate=policy)


def initial_state() -> State:
    """Say where a new run begins."""
    return State()


async def pay_invoices(runner: AgentRunner) -> None:
    """Run, let two people decide, go on."""
    result = await runner.start(run_id="may", initial_state=initial_state())
    print(f"the run is {result.status}: {result.wait}")
    [request] = runner.approvals("may", pending_only=True)
    print(f"asked for: {request['tool']} {request['arguments']}, {request['reason']}, {request['needed']} people\n")
    await runner.decide(run_id="may", number=request["number"], how="approve", by="ann", note="invoice checked")
    print(f"after ann: {(await runner.resume(run_id='may')).status}")
    await runner.decide(run_id="may", number=request["number"], how="approve", by="bob", note="budget is there")
    result = await runner.resume(run_id="may")
    print(f"after bob: {result.status}")
    for receipt in result.result:
        print(f"  {receipt}")


def main() -> None:
    """Pay the invoices of May, then look at them as an auditor."""
    with tempfile.TemporaryDirectory() as folder:
        db = str(Path(folder) / "runs.sqlite")
        runner = build_runner(db)
        asyncio.run(pay_invoices(runner))
        print("\nwho allowed what:")
        for request in runner.approvals("may"):
            for one in request["decisions"]:
                print(f"  {request['tool']} {request['arguments']}: {one['how']} by {one['by']} ({one['note']})")
        runner.close()
        command = [sys.executable, "-m", "loom_runner", "export", "may", "--db", db]
        rows = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        kinds = [json.loads(row)["kind"] for row in rows]
        print(f"\nexported: {', '.join(f'{kinds.count(kind)} {kind}' for kind in dict.fromkeys(kinds))}")


if __name__ == "__main__":
    main()
