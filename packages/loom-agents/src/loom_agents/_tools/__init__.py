"""What every tool uses: a tool from a function, and tools that ask a person for input."""
