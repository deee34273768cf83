"""Which commands may be started, and starting them: allow rules, secrets, the process."""
