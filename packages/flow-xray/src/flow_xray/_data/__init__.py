"""The data of a trace: span, trace, tree and its order, totals, value pool, number formats."""
