"""The gates: detect runners, check their arguments, run them, and judge what they reported."""
