"""Plain data about runs: records, statuses and their moves, outcomes, budgets, run ids, time."""
