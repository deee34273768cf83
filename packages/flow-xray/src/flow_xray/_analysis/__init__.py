"""Analysis of a trace: findings, statistics, summary, report."""
