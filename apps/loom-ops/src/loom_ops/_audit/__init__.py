"""The audit trail: its chained rows, what of a run's rows belongs into it, its signed head."""
