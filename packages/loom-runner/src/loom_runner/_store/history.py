"""How the states of a run's steps are stored in little space. Theory of operation:

A state that grows at every step would, stored in full each time, take space quadratic in the number
of steps. So the run's row holds the current state in full, and a step's row holds its state either
as a *difference* (see `delta`) or in full, as a *keyframe*. A small state (up to 4 KB) is always
stored in full, as readable text.

*When a keyframe is written.* When the differences since the last keyframe would become larger than
it, or the new difference saves almost nothing. The keyframes of a growing state then double in size
from one to the next, so all of them together are twice as large as the last; the size of the
differences is that of the changes. A state that is replaced at every step is stored in full at
every step.

*The base of a difference* is the state in the row before it: the text that this process committed
last, if it committed the previous step; else the run's row, if it holds the same state as the
previous row. If neither is certain, a keyframe is written. The code does not rely on claims of the
driver.

*Reading* goes from the requested step back to the last keyframe, and forward again. Resuming never
does this: it reads the run's row. Reading one step costs the number of differences since its
keyframe times the size of the state; a page of steps costs that once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from loom_runner._model.formatting import size
from loom_runner._store.cells import DELTA_HEAD, PLAIN_UP_TO_BYTES, Cell, Cells, compressed, encoded
from loom_runner._store.delta import difference, leads_to
from loom_runner.errors import PayloadTooLarge, StoreDamaged, StoreUnreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import apsw

__all__ = ["History"]

_BEFORE: Final = """
    SELECT step_index, state FROM steps WHERE step_key BETWEEN (?1 << 32) AND (?1 << 32) + ?2 - 1 AND state IS NOT NULL
    ORDER BY step_key DESC
"""


@dataclass(slots=True)
class BaseState:
    """The large state that the next one may be stored as a difference to: for each run that this
    process drives, the state that it committed last (`text` is then the driver's string, not a
    copy)."""

    step_index: int
    text: str
    keyframe_bytes: int
    delta_bytes: int


class History:
    """The states of all runs of one store."""

    def __init__(self, cells: Cells, max_state_bytes: int) -> None:
        self._cells = cells
        self._max_bytes = max_state_bytes
        self._bases: dict[int, BaseState] = {}

    # ------------------------------------------------------------------ writing

    def full(self, text: str) -> Cell:
        """Encode a state in full.

        Raises:
            PayloadTooLarge: It is larger than the limit.
        """
        if self._cells.keys is None and len(text) <= PLAIN_UP_TO_BYTES and text.isascii():
            return text
        data = self._checked(text)
        return self._cells.encrypted(text if len(data) <= PLAIN_UP_TO_BYTES else b"z" + compressed(data))

    def next(self, db: apsw.Connection, run_key: int, step_index: int, text: str) -> tuple[Cell, Cell]:
        """Encode the state after a step, before the run's row is changed.

        Returns:
            The cell for the run's row, and the cell for the step's row.

        Raises:
            PayloadTooLarge: It is larger than the limit.
        """
        data = self._checked(text)
        if len(data) <= PLAIN_UP_TO_BYTES:
            self._bases.pop(run_key, None)
            cell = self._cells.encrypted(text)
            return cell, cell
        frame = compressed(data)
        full = self._cells.encrypted(b"z" + frame)
        link = self._bases.get(run_key)
        if link is None or link.step_index != step_index - 1:
            link = self._base_from_run(db, run_key, step_index)
        delta, self._bases[run_key] = _next_cell(link, step_index, text, data, len(frame))
        return full, full if delta is None else self._cells.encrypted(delta)

    def rewritten(self, link: BaseState | None, texts: Iterable[tuple[int, str]]) -> Iterator[tuple[int, Cell]]:
        """Encode states again, each as a difference to the one before, for rows whose neighbours
        are deleted.

        Args:
            link: The state in the row before them (see `base_before`); None begins with a keyframe.
        """
        for step_index, text in texts:
            data = text.encode()
            if len(data) <= PLAIN_UP_TO_BYTES:
                link = None
                yield step_index, self._cells.encrypted(text)
                continue
            frame = compressed(data)
            delta, link = _next_cell(link, step_index, text, data, len(frame))
            yield step_index, self._cells.encrypted(b"z" + frame if delta is None else delta)

    def forget(self, run_key: int) -> None:
        """Drop the cached state of a run that this process no longer drives."""
        self._bases.pop(run_key, None)

    def _checked(self, text: str) -> bytes:
        data = encoded(text, "a state")
        if len(data) > self._max_bytes:
            raise PayloadTooLarge(
                f"cannot store a state of {size(len(data))}: the cap is {size(self._max_bytes)} (max_state_bytes of "
                "SQLiteStore). Keep what is large elsewhere and its name in the state."
            )
        return data

    def base_before(self, db: apsw.Connection, run_key: int, step_index: int) -> BaseState | None:
        """Return the large state in the row before a step."""
        row = db.execute(_BEFORE + "LIMIT 1", (run_key, step_index)).fetchone()
        cell = None if row is None else self._cells.decrypted(row[1], "the step before")
        if row is None or not isinstance(cell, bytes) or cell[:1] not in (b"z", b"d"):
            return None
        [(_, text)] = self.read(db, run_key, [row], lambda index: f"the state of step {index}")
        return None if text is None else BaseState(row[0], text, *_sizes(cell))

    def _base_from_run(self, db: apsw.Connection, run_key: int, step_index: int) -> BaseState | None:
        """Return the same with one read: of the run's row, if it certainly holds the state of the
        row before.
        """
        before = db.execute(_BEFORE + "LIMIT 1", (run_key, step_index)).fetchone()
        if before is None:
            return None
        try:
            cell = self._cells.decrypted(before[1], "the step before")
            (stored,) = db.execute("SELECT state FROM runs WHERE run_key = ?", (run_key,)).fetchone() or ("",)
            current = self._cells.decrypted(stored, "the run's state")
            if isinstance(cell, str) or cell[:1] not in (b"z", b"d"):
                return None
            data = self._cells.open(current, "the run's state")
        except StoreDamaged:  # a keyframe repairs the history from here on
            return None
        if cell != current and (cell[:1] != b"d" or not leads_to(cell[DELTA_HEAD.size :], data)):
            return None
        return BaseState(step_index - 1, data.decode(), *_sizes(cell))

    # ------------------------------------------------------------------ reading

    def read(
        self, db: apsw.Connection, run_key: int, rows: Iterable[tuple[int, Cell | None]], name: Callable[[int], str]
    ) -> Iterator[tuple[int, str | None]]:
        """Read the states of consecutive rows of a run.

        Args:
            rows: Step numbers and cells, in order.
            name: Returns the name of a step's state for messages.

        Raises:
            StoreDamaged: One of them, or the base of one, cannot be read.
        """
        before: bytes | None = None
        for step_index, stored in rows:
            self._cells.begin_read()
            if stored is None:
                yield step_index, None
                continue
            cell = self._cells.decrypted(stored, name(step_index))
            if isinstance(cell, str):
                before = None
                yield step_index, cell
                continue
            if cell[:1] == b"d" and before is None:
                before = self._rebuilt(db, run_key, step_index, name)
            before = self._cells.open(cell, name(step_index), before)
            yield step_index, before.decode()

    def problems(
        self, db: apsw.Connection, run_key: int, rows: Iterable[tuple[int, Cell | None]], name: Callable[[int], str]
    ) -> Iterator[tuple[int, str]]:
        """Read like `read`, and yield the step and the text of each problem instead of raising."""
        before: bytes | None = None
        is_broken = False
        for step_index, stored in rows:
            self._cells.begin_read()
            if stored is None:
                continue
            try:
                cell = self._cells.decrypted(stored, name(step_index))
                if isinstance(cell, bytes) and cell[:1] == b"d":
                    if is_broken:
                        yield step_index, f"{name(step_index)} cannot be rebuilt: its base is damaged"
                        continue
                    if before is None:
                        before = self._rebuilt(db, run_key, step_index, name)
                before = self._cells.open(cell, name(step_index), before)
                json.loads(before)
                is_broken = False
            except (StoreUnreadable, ValueError, RecursionError) as exc:
                before, is_broken = None, True
                yield step_index, str(exc)

    def _rebuilt(self, db: apsw.Connection, run_key: int, step_index: int, name: Callable[[int], str]) -> bytes:
        """Return the state that a difference was made against."""
        deltas: list[tuple[int, Cell]] = []
        key: tuple[int, Cell] | None = None
        for index, stored in db.execute(_BEFORE, (run_key, step_index)):
            cell = self._cells.decrypted(stored, name(index))
            if isinstance(cell, str) or cell[:1] != b"d":
                key = (index, cell)
                break
            deltas.append((index, cell))
        if key is None:
            raise self._cells.damaged(name(step_index), "the rows that it is based on are missing")
        state = self._cells.open(key[1], name(key[0]))
        for index, cell in reversed(deltas):
            state = self._cells.open(cell, name(index), state)
        return state


def _next_cell(
    link: BaseState | None, step_index: int, text: str, data: bytes, frame_bytes: int
) -> tuple[bytes | None, BaseState]:
    """Return the difference to the state of `link`, or None for a keyframe; and the base for the
    next state.
    """
    if link is not None:
        delta = difference(link.text.encode(), data)
        delta_bytes = link.delta_bytes + len(delta)
        if delta_bytes <= link.keyframe_bytes and 4 * len(delta) <= 3 * frame_bytes:
            cell = DELTA_HEAD.pack(b"d", link.keyframe_bytes, delta_bytes) + delta
            return cell, BaseState(step_index, text, link.keyframe_bytes, delta_bytes)
    return None, BaseState(step_index, text, frame_bytes, 0)


def _sizes(cell: bytes) -> tuple[int, int]:
    """Return the size of the last keyframe, and of the differences since, in bytes."""
    if cell[:1] == b"z":
        return len(cell) - 1, 0
    _, keyframe_bytes, delta_bytes = DELTA_HEAD.unpack_from(cell)
    return keyframe_bytes, delta_bytes
