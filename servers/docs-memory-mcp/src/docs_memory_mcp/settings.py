"""The settings of the server: arguments first, then environment variables, then defaults."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from docs_memory_mcp._errors import SettingsError

__all__ = ["Settings", "load_settings"]

ROOT: Final = "DOCS_ROOT"
DB: Final = "DOCS_DB"
MEMORY_DB: Final = "DOCS_MEMORY_DB"
OLLAMA_HOST: Final = "OLLAMA_HOST"
EMBED_MODEL: Final = "EMBED_MODEL"
EMBED_API_KEY: Final = "EMBED_API_KEY"
CHUNK_SIZE: Final = "CHUNK_SIZE"
CHUNK_OVERLAP: Final = "CHUNK_OVERLAP"
TOP_K: Final = "RAG_TOP_K"
MAX_TOP_K: Final = 50
_OLLAMA: Final = "http://127.0.0.1:11434"


@dataclass(frozen=True, slots=True)
class Settings:
    """Which documents are served, and how they are searched.

    Args:
        root: The folder of the documents.
        db: The file of the index, which can always be made again.
        memory_db: The file of the memory.
        embed_model: `wordllama`, the model that ships in its wheel, or a model of the embeddings
            server; None ranks by words only.
        embed_url: The embeddings server: Ollama, or an OpenAI-compatible one whose address ends
            with `/v1`.
        embed_api_key: Sent to that server only.
        chunk_size: The number of characters after which a part of a document ends.
        chunk_overlap: How many characters of a part its successor repeats.
        top_k: How many matches `docs_search` returns unless the call says otherwise.
    """

    root: Path
    db: Path
    memory_db: Path
    embed_model: str | None = None
    embed_url: str = _OLLAMA
    embed_api_key: str | None = None
    chunk_size: int = 1_800
    chunk_overlap: int = 0
    top_k: int = 8


def load_settings(
    *,
    root: str | Path | None = None,
    db: str | Path | None = None,
    memory_db: str | Path | None = None,
    embed_model: str | None = None,
    embed_url: str | None = None,
    chunk_size: int | None = None,
    chunk_overlap: int | None = None,
    top_k: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Read the settings. An argument that is None comes from the environment.

    Args:
        root: The folder; by default the current one.
        db: By default a file in the user's state folder, one for each root.
        memory_db: By default `memory.sqlite` beside the index; with `db`, a file named after it.
        embed_model: See `Settings`.
        embed_url: See `Settings`; by default Ollama on this machine.
        chunk_size: Characters, at least 100.
        chunk_overlap: Characters, at most half of the size.
        top_k: 1 to 50.
        environment: The variables; those of the process when they are not given.

    Raises:
        SettingsError: A value cannot be used.
    """
    env = os.environ if environment is None else environment
    folder = Path(root or env.get(ROOT) or ".").expanduser()
    if not folder.is_dir():
        raise SettingsError(
            f"cannot use {str(folder)!r} as the root: it is not a folder. Name one with --root or {ROOT}."
        )
    folder = folder.resolve()
    index = db or env.get(DB) or None
    facts = memory_db or env.get(MEMORY_DB) or None
    file = Path(index).expanduser() if index else _state_folder(folder) / "index.sqlite"
    beside = file.with_name(f"{file.stem}-memory.sqlite") if index else file.with_name("memory.sqlite")
    size = _number(env, CHUNK_SIZE, 1_800) if chunk_size is None else chunk_size
    overlap = _number(env, CHUNK_OVERLAP, 0) if chunk_overlap is None else chunk_overlap
    count = _number(env, TOP_K, 8) if top_k is None else top_k
    if size < 100 or not 0 <= overlap <= size // 2:
        raise SettingsError(
            f"cannot make parts of {size} characters that overlap by {overlap}: {CHUNK_SIZE} is at least 100, "
            f"{CHUNK_OVERLAP} at most half of it."
        )
    if not 1 <= count <= MAX_TOP_K:
        raise SettingsError(f"cannot return {count} matches: {TOP_K} is 1 to {MAX_TOP_K}.")
    settings = Settings(
        folder,
        file.absolute(),
        Path(facts).expanduser().absolute() if facts else beside.absolute(),
        embed_model or env.get(EMBED_MODEL) or None,
        embed_url or env.get(OLLAMA_HOST) or _OLLAMA,
        env.get(EMBED_API_KEY) or None,
        size,
        overlap,
        count,
    )
    if settings.db == settings.memory_db:
        raise SettingsError(f"cannot keep index and memory in one file, {file}: give --memory-db another one.")
    return settings


def _state_folder(root: Path) -> Path:
    """Return the folder of the user's files about a root. It need not exist."""
    from platformdirs import user_state_path

    digest = hashlib.blake2b(os.fsencode(root), digest_size=6).hexdigest()
    try:
        return user_state_path("loom") / "docs-memory" / f"{root.name or 'root'}-{digest}"
    except RuntimeError as exc:
        raise SettingsError(f"cannot find a folder for the index: {exc}. Name a file with --db or {DB}.") from exc


def _number(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name)
    if not text:
        return default
    try:
        return int(text)
    except ValueError as exc:
        raise SettingsError(f"cannot use {name}={text!r}: it is not a whole number.") from exc
