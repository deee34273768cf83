"""Parts of all tools: building a tool from a function, and asking a person for input."""
