"""The output for people and programs: progress, transcripts, explanations, exports, checks."""
