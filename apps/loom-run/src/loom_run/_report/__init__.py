"""What a person or a program reads: progress, transcripts, explanations, exports, checks."""
