"""Embeddings of a server: an OpenAI-compatible one (`/v1/embeddings`), or Ollama (`/api/embed`).

The texts of the documents are sent to this server and to no other: redirects are not followed, and
proxies of the environment are not used for loopback.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from loom_agents._errors import EmbeddingsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TIMEOUT_S: Final = 30.0
_MAX_ANSWER_BYTES: Final = 64_000_000
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


class ServedEmbeddings:
    """Embeddings that a server makes.

    Args:
        url: The address of the server: `http://localhost:11434` for Ollama, or one that ends with
            `/v1` (or `/v1/embeddings`) for an OpenAI-compatible server.
        model: The name of the model on the server.
        api_key: Sent as a bearer token, to this server only.
        timeout_s: How many seconds to wait for an answer.

    Raises:
        EmbeddingsError: The address is none of HTTP.
    """

    def __init__(self, url: str, model: str, *, api_key: str | None = None, timeout_s: float = TIMEOUT_S) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise EmbeddingsError(f"cannot use {url!r} for embeddings: it is no HTTP address. Give one with a host.")
        path = parts.path.rstrip("/")
        if path.endswith("/embeddings"):
            path = path.removesuffix("/embeddings")
        self._is_openai = path.endswith("/v1")
        self._url = f"{parts.scheme}://{parts.netloc}{path}/{'embeddings' if self._is_openai else 'api/embed'}"
        self._host = parts.netloc.rpartition("@")[2]
        self._is_local = parts.hostname in _LOOPBACK
        self._model = model
        self._api_key = api_key
        self._timeout_s = timeout_s
        self._dimensions = 0

    @property
    def id(self) -> str:
        """The model, and which kind of server has it."""
        return f"{'openai' if self._is_openai else 'ollama'}:{self._model}"

    @property
    def dimensions(self) -> int:
        """The length of the vectors; 0 before the first call."""
        return self._dimensions

    def embed(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """Return a vector for each text.

        Shape: `(len(texts), dimensions)`, float32.

        Raises:
            EmbeddingsError: The server does not answer in time, or answers something else.
        """
        import numpy as np

        answer = self._asked({"model": self._model, "input": list(texts)})
        try:
            if self._is_openai:
                rows = [item["embedding"] for item in sorted(answer["data"], key=lambda item: item.get("index", 0))]
            else:
                rows = answer["embeddings"]
            values = np.asarray(rows, dtype=np.float32)
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise self._failed("it answered something that is no list of vectors") from exc
        if values.ndim != 2 or values.shape[0] != len(texts) or not values.shape[1]:
            raise self._failed(f"it answered {values.shape[0] if values.ndim else 0} vectors for {len(texts)} texts")
        self._dimensions = int(values.shape[1])
        return values

    def _asked(self, body: dict[str, Any]) -> Any:
        try:
            import httpx2
        except ImportError as exc:
            raise EmbeddingsError("cannot ask for embeddings: pip install 'loom-agents[vectors]'.") from exc
        headers = {"Authorization": f"Bearer {self._api_key}"} if self._api_key else {}
        data = bytearray()
        try:
            with (
                httpx2.Client(timeout=self._timeout_s, trust_env=not self._is_local, follow_redirects=False) as client,
                client.stream("POST", self._url, json=body, headers=headers) as response,
            ):
                for piece in response.iter_bytes():
                    data += piece
                    if len(data) > _MAX_ANSWER_BYTES:
                        raise self._failed("its answer is too large")
        except httpx2.TimeoutException as exc:
            raise self._failed(f"it did not answer within {self._timeout_s:g} s") from exc
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as exc:
            raise self._failed(str(exc) or type(exc).__name__) from exc
        if response.status_code != 200:
            raise self._failed(f"it answered {response.status_code} {_message(bytes(data))}".rstrip())
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as exc:
            raise self._failed("its answer is no JSON") from exc

    def _failed(self, why: str) -> EmbeddingsError:
        return EmbeddingsError(f"the embeddings server {self._host} did not answer for {self._model}: {why}.")


def _message(data: bytes) -> str:
    """Return what an error of a server says, on one line."""
    try:
        error = json.loads(data)["error"]
        text = error["message"] if isinstance(error, dict) else str(error)
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return " ".join(str(text).split())[:200]
