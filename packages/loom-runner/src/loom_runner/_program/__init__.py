"""What a run executes: agents, step and loop programs, tools, the step context, codecs, state
versions.
"""
