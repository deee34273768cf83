"""A chat agent on your repository that you can kill and resume.

The product is its command, `loom-run`; it is built from `loom_agents` and `loom_runner`.
"""

__all__: list[str] = []
