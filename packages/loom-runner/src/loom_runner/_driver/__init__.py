"""Drive runs: claim, step, attempt, tool ledger, waits, child runs, heartbeat, worker."""
