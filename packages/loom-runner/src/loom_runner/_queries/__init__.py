"""Questions about runs: views, explain, verify, export, traces, doctor."""
