"""The vectors of an index: making those that are missing, and finding the nearest."""

from typing import TYPE_CHECKING, Final

from loom_agents._errors import EmbeddingsError
from loom_agents._search.database import IndexDatabase
from loom_agents._search.vectors.embeddings import Embeddings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BATCH: Final = 64
_MAX_CHARACTERS: Final = 4_000  # of a chunk; models cut longer texts in any case
_MISSING: Final = """
    SELECT w.rowid, w.heading, w.text FROM loom_search_words w WHERE w.rowid > ?
    AND NOT EXISTS (SELECT 1 FROM loom_search_vector v WHERE v.chunk = w.rowid) ORDER BY w.rowid LIMIT ?
"""
_PUT: Final = """
    INSERT OR REPLACE INTO loom_search_vector (chunk, value)
    SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM loom_search_chunk WHERE id = ?1)
"""
_VALUES: Final = "SELECT chunk, value FROM loom_search_vector WHERE length(value) = ? ORDER BY chunk"
_PUT_META: Final = "INSERT INTO loom_search_meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
_META: Final = "SELECT key, value FROM loom_search_meta WHERE key IN ('embeddings', 'dimensions')"


class StoredVectors:
    """The vectors of one index, made by one kind of embeddings."""

    def __init__(self, database: IndexDatabase, embeddings: Embeddings) -> None:
        self._database = database
        self._embeddings = embeddings
        self._matrix_state: tuple[int, int] | None = None
        self._numbers: list[int] = []
        self._matrix: NDArray[np.float32] | None = None

    def add_missing(self) -> tuple[str, str | None]:
        """Make the vectors that are missing; return their state, and why all were made again."""
        rebuilt: str | None = None
        last = count = 0
        while rows := self._database.rows(_MISSING, (last, _BATCH)):
            texts = [f"{heading}\n{text}"[:_MAX_CHARACTERS] for _, heading, text in rows]
            try:
                values = self._embed(texts)
            except EmbeddingsError as exc:
                return f"incomplete: {exc}", rebuilt
            dimensions = values.shape[1]
            with self._database.transaction() as db:
                why = self._adopt(dimensions)
                for (number, _, _), value in zip(rows, values, strict=True):
                    db.execute(_PUT, (number, value.tobytes()))
            if why is not None:
                rebuilt, last = why, 0
                continue
            last, count = rows[-1][0], count + len(rows)
        if not count and self._stored()[0] not in ("", self._embeddings.id):
            rebuilt = self._discard_others()
            return self.add_missing()[0], rebuilt
        return f"{self._count()} of {self._embeddings.id}", rebuilt

    def nearest(self, query: str, limit: int) -> tuple[list[int], tuple[str, ...]] | str:
        """Return the chunks nearest to a query and notes, or why there are none."""
        stored, dimensions = self._stored()
        if stored != self._embeddings.id:
            return "there are no vectors of these embeddings yet; these matches are by words only"
        try:
            [value] = self._embed([query])
        except EmbeddingsError as exc:
            return f"{exc} These matches are by words only."
        if value.shape[0] != dimensions:
            return "the embeddings have changed; refresh the index. These matches are by words only."
        matrix = self._loaded(dimensions)
        scores = matrix @ value
        import numpy as np

        best = np.argsort(-scores, kind="stable")[:limit]
        chunks = self._database.value("SELECT count(*) FROM loom_search_chunk")
        missing = chunks - len(self._numbers)
        notes = (f"{missing} of {chunks} parts have no vector yet; refresh the index.",) if missing else ()
        return [self._numbers[index] for index in best.tolist()], notes

    def _embed(self, texts: list[str]) -> "NDArray[np.float32]":
        try:
            import numpy as np
        except ImportError as exc:
            raise EmbeddingsError("cannot use vectors: pip install 'loom-agents[vectors]'.") from exc

        values = np.asarray(self._embeddings.embed(texts), dtype=np.float32)
        if values.ndim != 2 or values.shape[0] != len(texts) or not values.shape[1]:
            raise EmbeddingsError(f"the embeddings {self._embeddings.id} gave {values.shape} for {len(texts)} texts.")
        values = np.nan_to_num(values, posinf=0.0, neginf=0.0)
        lengths = np.linalg.norm(values, axis=1, keepdims=True)
        return np.asarray(values / np.where(lengths > 0, lengths, 1), dtype=np.float32)

    def _stored(self) -> tuple[str, int]:
        stored = dict(self._database.rows(_META))
        return stored.get("embeddings", ""), int(stored.get("dimensions", 0))

    def _adopt(self, dimensions: int) -> str | None:
        """Store the model of the vectors; remove those of another one, and say so."""
        db = self._database.connection
        before, now = self._stored(), (self._embeddings.id, dimensions)
        if before == now:
            return None
        db.execute("DELETE FROM loom_search_vector")
        db.executemany(_PUT_META, (("embeddings", now[0]), ("dimensions", str(now[1]))))
        if before == ("", 0):
            return None
        return f"the embeddings changed from {before[0]} ({before[1]}) to {now[0]} ({now[1]})"

    def _discard_others(self) -> str:
        """Remove the vectors of another model, so that they are missing."""
        before = self._stored()[0]
        with self._database.transaction() as db:
            db.execute("DELETE FROM loom_search_vector")
            db.execute("DELETE FROM loom_search_meta WHERE key IN ('embeddings', 'dimensions')")
        return f"the embeddings changed from {before} to {self._embeddings.id}"

    def _count(self) -> int:
        return int(self._database.value("SELECT count(*) FROM loom_search_vector"))

    def _loaded(self, dimensions: int) -> "NDArray[np.float32]":
        import numpy as np

        state = self._database.state()
        if self._matrix is None or state != self._matrix_state or self._matrix.shape[1] != dimensions:
            rows = self._database.rows(_VALUES, (4 * dimensions,))
            self._numbers = [number for number, _ in rows]
            joined = b"".join(value for _, value in rows)
            self._matrix = np.frombuffer(joined, dtype=np.float32).reshape(len(rows), dimensions)
            self._matrix_state = state
        return self._matrix
