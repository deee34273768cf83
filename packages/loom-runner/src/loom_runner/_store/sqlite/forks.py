"""What happens to open databases when this process is forked.

SQLite's connections must not be carried across a fork: the locks are not inherited, but SQLite in
the forked process believes that it has them; and when such a connection is closed there, it may
delete the log under the parent. So in the forked process every database that the parent opened
refuses each use by name, and its connections are never closed: they stay referenced until the
process ends. The parent is not affected. While the fork happens no transaction of this package is
open in any thread, because SQLite in the forked process would wait for its end forever.
"""

from __future__ import annotations

import os
import weakref
from contextlib import suppress
from typing import Any, Final, NoReturn, Protocol

from loom_runner._store.sqlite.open_files import forget_in_forked_process
from loom_runner.errors import StoreForked

__all__ = ["Forkable", "ForkedConnection", "refuse_after_fork"]

_WAIT_S: Final = 5.0
"""How long a fork waits for a transaction of another thread."""


class Forkable(Protocol):
    """A database that refuses to be used in a forked process."""

    @property
    def path(self) -> str:
        """The path, for messages."""

    @property
    def locks(self) -> tuple[Any, ...]:
        """The locks under which its connections are used."""

    def connections(self) -> list[Any]:
        """Return its open connections."""

    def replace_connections(self, by: ForkedConnection) -> None:
        """Use `by` in place of every connection."""


class ForkedConnection:
    """Stands for a connection of the parent process, and refuses every use."""

    def __init__(self, path: str, pid: int) -> None:
        self._message = (
            f"cannot use {path}: this store was opened in process {pid}, from which this process ({os.getpid()}) was "
            "forked. Open it again in the forked process (for instance in gunicorn's post_fork)."
        )

    def refuse(self) -> NoReturn:
        """Raise the error."""
        raise StoreForked(self._message)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        self.refuse()


_databases: weakref.WeakSet[Forkable] = weakref.WeakSet()
_taken: list[Any] = []
_never_closed: list[Any] = []
_pid = os.getpid()
_is_registered = False


def refuse_after_fork(database: Forkable) -> None:
    """Have a database refuse its use in forked processes."""
    global _is_registered  # noqa: PLW0603  (the process has one list of handlers)
    _databases.add(database)
    if not _is_registered and hasattr(os, "register_at_fork"):
        _is_registered = True
        os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after_in_child)


def _before() -> None:
    for database in list(_databases):
        _taken.extend(lock for lock in database.locks if lock.acquire(timeout=_WAIT_S))


def _after() -> None:
    while _taken:
        _taken.pop().release()


def _after_in_child() -> None:
    global _pid
    parent, _pid = _pid, os.getpid()
    _after()
    forget_in_forked_process()
    for database in list(_databases):
        _keep_forever(database.connections())
        database.replace_connections(ForkedConnection(database.path, parent))
    _databases.clear()


def _keep_forever(connections: list[Any]) -> None:
    """Keep objects until the process ends, also through the end of the interpreter."""
    _never_closed.extend(connections)
    with suppress(ImportError):
        from _ctypes import Py_INCREF

        for connection in connections:
            Py_INCREF(connection)
