"""What a run executes: step and loop programs, tools, a step's context, codecs, state versions."""
