"""The agent: step, state, tool calls, delegation, compaction, questions to the user, policy."""
