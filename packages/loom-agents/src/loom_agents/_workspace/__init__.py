"""The local tools of an agent: the path jail, reading, writing, undo, git and tests."""
