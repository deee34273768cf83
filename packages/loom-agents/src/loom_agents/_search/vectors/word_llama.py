"""Embeddings of `wordllama`, a small model that ships in its wheel: nothing is downloaded."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loom_agents._errors import EmbeddingsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class WordLlamaEmbeddings:
    """Static embeddings of 256 dimensions, for English; loaded at the first use (0.5 s, 20 MB)."""

    def __init__(self) -> None:
        self._model: Any = None

    @property
    def id(self) -> str:
        """The model and the version of its package."""
        try:
            return f"wordllama-{version('wordllama')}"
        except ImportError:  # PackageNotFoundError
            return "wordllama"

    @property
    def dimensions(self) -> int:
        """The length of the vectors."""
        return 256

    def embed(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """Return a vector for each text.

        Shape: `(len(texts), 256)`, float32.

        Raises:
            EmbeddingsError: The extra is not installed, or its files are incomplete.
        """
        import numpy as np

        return np.asarray(self._loaded().embed(list(texts)), dtype=np.float32)

    def _loaded(self) -> Any:
        if self._model is None:
            try:
                import wordllama  # type: ignore[import-untyped]  # it has no types

                folder = Path(wordllama.__file__).parent  # where its files are looked for, so that none is downloaded
                self._model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
            except (ImportError, OSError, ValueError) as exc:
                raise EmbeddingsError(
                    f"cannot load wordllama: {exc}. Install it: pip install 'loom-agents[vectors]'."
                ) from exc
        return self._model
