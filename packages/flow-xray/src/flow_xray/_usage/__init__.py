"""Token counts read from a model's response, and their cost."""
