"""The command `docs-memory-mcp`."""

from pathlib import Path
from typing import Any, Final

import click
from loom_agents.mcp_server import command_errors, serve_mcp, serve_mcp_options
from loom_runner.cli_base import run_command

from docs_memory_mcp import settings as names

__all__ = ["command", "main"]

_PORT: Final = 8768
_path = click.Path(path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="docs-memory-mcp")
@click.option("--root", type=_path, help=f"The folder of the documents. [{names.ROOT}; default: this folder]")
@click.option(
    "--db", type=_path, help=f"The file of the index. [{names.DB}; default: one for each root in your state folder]"
)
@click.option("--memory-db", type=_path, help=f"The file of the memory. [{names.MEMORY_DB}; default: beside the index]")
@click.option(
    "--embed-model",
    help=f"Rank by vectors, too: wordllama, or a model of the embeddings server. [{names.EMBED_MODEL}; default: off]",
)
@click.option(
    "--embed-url",
    help="The embeddings server: Ollama, or an OpenAI-compatible one that ends with /v1."
    f" [{names.OLLAMA_HOST}; default: http://127.0.0.1:11434]",
)
@click.option("--chunk-size", type=int, help=f"Characters of a part of a document. [{names.CHUNK_SIZE}; default: 1800]")
@click.option("--chunk-overlap", type=int, help=f"Characters that two parts share. [{names.CHUNK_OVERLAP}; default: 0]")
@click.option("--top-k", type=int, help=f"Matches of a search. [{names.TOP_K}; default: 8]")
@serve_mcp_options(port=_PORT)
def command(
    *,
    root: Path | None,
    db: Path | None,
    memory_db: Path | None,
    embed_model: str | None,
    embed_url: str | None,
    chunk_size: int | None,
    chunk_overlap: int | None,
    top_k: int | None,
    **serving: Any,
) -> None:
    """Serve the search of one folder's documents, and a memory, over the Model Context Protocol.

    Nothing else needs to be installed or running. The documents leave this machine only for an
    embeddings server that you name.
    """
    with command_errors():
        settings = names.load_settings(
            root=root,
            db=db,
            memory_db=memory_db,
            embed_model=embed_model,
            embed_url=embed_url,
            chunk_size=chunk_size,
            chunk_overlap=chunk_overlap,
            top_k=top_k,
        )
    from docs_memory_mcp.server import build_server

    serve_mcp(build_server(settings), **serving)


def main() -> int | None:
    """Run the command; return its exit code."""
    return run_command(command, name="docs-memory-mcp")
