"""A chat agent on your repository that you can kill and resume."""

__all__: list[str] = []
