"""The team that works on an incident: planner, executor, verifier, supervisor, their tools."""
