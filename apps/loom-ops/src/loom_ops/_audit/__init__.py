"""The audit trail: its chained entries, the facts of a run's rows, its signed head."""
