"""What the commands of products are made of: how `loom-run` and `loom-ops` open, serve, list and
report errors.

A product has one `CommandLine`, and its commands use that::

    import click
    from loom_agents.cli import CommandLine
    from loom_runner.errors import CommandError

    class DemoError(CommandError): ...

    DEMO = CommandLine("demo", start="demo chat", error=DemoError)

    @click.command()
    def runs() -> None:
        with DEMO.open_database("runs.sqlite", read_only=True) as store:
            ...

Exit codes, output and Ctrl-C are those of `loom_runner.cli_base`. Importing this module loads no
agent, no store and no server, so that `--help` is fast.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click
from loom_runner.cli_base import (
    ExitCode,
    allow_database,
    database_exists,
    may_write_database,
    remember_database,
    run_async,
    write_error,
)
from loom_runner.errors import CommandError
from loom_runner.run_ids import is_within, request_id

from loom_agents._serve.request_rows import shown_hash
from loom_agents._serve.token_commands import token_commands
from loom_agents._tools.argument_difference import argument_difference, edit_notes, final_arguments

if TYPE_CHECKING:
    from loom_runner import SQLiteStore

    from loom_agents._serve.product import Product

__all__ = [
    "BareFlags",
    "CommandLine",
    "Request",
    "argument_difference",
    "edit_notes",
    "final_arguments",
    "request_name",
    "requests_in_tree",
    "serve_options",
    "shown_hash",
    "token_commands",
]

Request: TypeAlias = Mapping[str, Any]
"""A request for approval, as `loom_runner.Runs` returns it: run_id, number, status, tool,
arguments, decisions, ...
"""


class BareFlags(click.Command):
    """A command in which `--mock-llm` takes no value and `--mock-llm=FILE` takes one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments."""
        end = args.index("--") if "--" in args else len(args)
        named = ["--mock-llm=" if arg == "--mock-llm" else arg for arg in args[:end]]
        return super().parse_args(ctx, named + args[end:])


@dataclass(frozen=True, slots=True)
class CommandLine:
    """The command of a product.

    Args:
        name: The program, which is also the distribution that has the extra `serve`.
        start: The command that starts a first run, for messages.
        error: What it raises.
    """

    name: str
    start: str
    error: type[CommandError]

    def require_database(self, db: str) -> None:
        """Check that a database exists.

        Raises:
            CommandError: It does not.
            UsageError: It has no valid address.
            StoreUnreadable: The system does not say, for instance for lack of permission.
        """
        if not database_exists(db):
            raise self.error(
                f"cannot open {db}: there is no such database. Start with {self.start}, or name another --db."
            )

    @contextmanager
    def open_database(
        self, db: str, *, must_exist: bool = True, read_only: bool | None = False
    ) -> "Iterator[SQLiteStore]":
        """Open a database, and close it after the block.

        Args:
            db: Its address, as `loom_runner.open_store` takes it.
            must_exist: Do not create it.
            read_only: Write nothing. None: write nothing if it is foreign; else it is migrated,
                when an earlier version made it.

        Raises:
            CommandError: It does not exist and must.
            StoreForeign: Somebody else may have made it, and it would be written to.
            StoreError: It cannot be used.
        """
        if must_exist:
            self.require_database(db)
        from loom_runner import open_store

        if read_only is None:
            read_only = not may_write_database(db)
        allow_database(db, writes=not read_only)
        with closing(open_store(db, read_only=read_only)) as store:
            if not read_only:
                remember_database(store)
            yield store

    @contextmanager
    def translate_agent_errors(self) -> Iterator[None]:
        """Turn errors of `loom_agents` into one line with an exit code.

        Raises:
            CommandError: The block raised an `AgentError`.
        """
        from loom_agents import AgentError, MessageFormatError, ModelError, ScriptError

        try:
            yield
        except MessageFormatError as exc:
            raise self.error(str(exc), exit_code=ExitCode.STORE) from exc
        except ModelError as exc:
            code = ExitCode.USAGE if isinstance(exc, ScriptError) else ExitCode.PROVIDER
            raise self.error(str(exc), exit_code=code) from exc
        except AgentError as exc:
            raise self.error(str(exc)) from exc

    def serve(self, build: "Callable[[SQLiteStore], Product]", db: str, options: Mapping[str, Any]) -> ExitCode:
        """Serve the runs of a database over HTTP until Ctrl-C or SIGTERM.

        Args:
            build: Makes the product from the store.
            db: The database; it is created when it is missing.
            options: Those of `serve_options`.

        Raises:
            CommandError: The extra `serve` is not installed, or the address or a token file cannot
                be used.
        """
        try:
            from loom_agents.serve import serve
        except ImportError as exc:
            raise self.error(
                f"cannot serve: {exc.name!r} is not installed. Install it: pip install '{self.name}[serve]'."
            ) from exc

        def on_ready(address: str, token: str | None) -> None:
            write_error(f"{self.name} serves {db} at {address}" + (f"#token={token}" if token else ""))
            write_error(f"Ctrl-C stops it; {self.name} resume then resumes unfinished runs")

        with self.translate_agent_errors(), self.open_database(db, must_exist=False) as store:
            work = serve(
                build(store),
                host=options["host"],
                port=options["port"],
                token_file=options["token_file"],
                allowed_hosts=options["allow_host"],
                on_ready=on_ready,
            )
            run_async(work)
            write_error("stopped")
        return ExitCode.DONE


def serve_options(*, port: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that adds --host, --port, --token-file and --allow-host to a click
    command.

    Args:
        port: The default port.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in (
            click.option("--allow-host", multiple=True, metavar="NAME", help="A further host name of this server."),
            click.option(
                "--token-file",
                type=click.Path(path_type=Path),
                metavar="FILE",
                help="Tokens and their scopes (TOML); required when others can reach the server. Without it a token is"
                " generated.",
            ),
            click.option(
                "--port",
                type=click.IntRange(0, 65535),
                default=port,
                show_default=True,
                metavar="PORT",
                help="The port to listen on; 0 for any free one.",
            ),
            click.option(
                "--host", default="127.0.0.1", show_default=True, metavar="HOST", help="The address to listen on."
            ),
        ):
            command = option(command)
        return command

    return decorate


def requests_in_tree(requests: Iterable[Request], run_id: str | None) -> list[Request]:
    """Return the requests of a run and its descendants; all when the run is None."""
    return [request for request in requests if run_id is None or is_within(request["run_id"], run_id)]


def request_name(request: Request) -> str:
    """Return the id of a request for approval, as commands take it: RUN#rNUMBER."""
    return request_id(request["run_id"], request["number"])
