"""Token counts read from a model's response, and what they cost."""
