"""The protocol of embeddings, which give texts of similar meaning similar vectors."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Embeddings(Protocol):
    """Turn texts into vectors. Used by one thread at a time."""

    @property
    def id(self) -> str:
        """The model. Vectors of another id are never compared with these."""
        ...

    @property
    def dimensions(self) -> int:
        """The length of the vectors; 0 while it is not known, before the first call."""
        ...

    def embed(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """Return a vector for each text.

        Shape: `(len(texts), dimensions)`, float32, of any length.

        Raises:
            EmbeddingsError: They cannot be made now, for example because a server does not answer.
        """
        ...
