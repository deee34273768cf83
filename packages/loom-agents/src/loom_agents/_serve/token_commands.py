"""The commands that make, list and revoke the tokens of a server; products add them to theirs."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from loom_runner.cli_base import Output, choose_output, output_option, write_error, write_line, write_rows

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["token_commands"]

_file_option = click.option(
    "--token-file",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("tokens.toml"),
    show_default=True,
    metavar="FILE",
    help="The token file, as `serve --token-file` takes it.",
)

_COLUMNS: Final[dict[str, Callable[[Mapping[str, Any]], str]]] = {
    "NAME": lambda row: row["name"],
    "SCOPES": lambda row: ",".join(row["scopes"]),
    "EXPIRES": lambda row: row["expires_at"] or "never",
    "STATUS": lambda row: "valid" if row["is_valid"] else "expired",
}


def token_commands(translate_errors: "Callable[[], AbstractContextManager[None]]") -> click.Group:
    """Return the group `tokens`.

    Args:
        translate_errors: Turns errors of `loom_agents` into those of the product.
    """

    @click.group()
    def tokens() -> None:
        """Tokens of the HTTP server: new, list, revoke.

        A running server reads the file again when it has changed.
        """

    @tokens.command("new")
    @click.argument("name")
    @click.option(
        "--scope",
        "scopes",
        multiple=True,
        required=True,
        metavar="SCOPE[,...]",
        help="What it allows: read, run, approve, admin.",
    )
    @click.option("--expires", metavar="WHEN", help="30d, 12h, or a time such as 2027-01-31T00:00:00Z.")
    @_file_option
    def new(*, name: str, scopes: tuple[str, ...], expires: str | None, path: Path) -> None:
        """Make a token for NAME, and print it once; the file gets its hash only."""
        from loom_agents._serve.token_file import add_token, expiry_of

        with translate_errors():
            until = None if expires is None else expiry_of(expires, datetime.now(UTC))
            token = add_token(path, name, _scopes(scopes), until)
        write_line(token)
        write_error(f"{path} holds its hash; the token is not shown again")

    @tokens.command("list")
    @_file_option
    @output_option
    def list_(*, path: Path, output: Output | None) -> None:
        """List the tokens of the file: names, scopes and expiry, never the token."""
        from loom_agents._serve.tokens import read_token_file

        with translate_errors():
            entries = read_token_file(path)
        now = datetime.now(UTC)
        rows = [
            {
                "name": name,
                "scopes": sorted(entry.caller.scopes),
                "expires_at": None if entry.expires_at is None else _time_text(entry.expires_at),
                "is_valid": entry.is_valid(now.timestamp()),
            }
            for name, entry in entries.items()
        ]
        write_rows(rows, _COLUMNS, choose_output(output), empty=f"{path} has no tokens")

    @tokens.command("revoke")
    @click.argument("name")
    @_file_option
    def revoke(*, name: str, path: Path) -> None:
        """Remove the token of NAME; a running server refuses it at its next request."""
        from loom_agents._serve.token_file import remove_token

        with translate_errors():
            remove_token(path, name)
        write_line(f"revoked {name}")

    return tokens


def _scopes(given: tuple[str, ...]) -> "list[Any]":
    from loom_agents._serve.tokens import SCOPES

    scopes = [scope.strip() for text in given for scope in text.split(",")]
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown:
        raise click.UsageError(f"--scope {unknown[0]!r} is not among {', '.join(SCOPES)}")
    return sorted(set(scopes))


def _time_text(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
