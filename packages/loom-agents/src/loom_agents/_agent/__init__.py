"""The agent: its step, state, tool calls, delegation, compaction, questions to the user and
policy.
"""
