"""Stack-safe async tail recursion: a compiler from tail calls to loops."""

__all__: list[str] = []
