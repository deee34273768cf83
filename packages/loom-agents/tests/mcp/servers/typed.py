"""A small server made with `loom_agents.mcp_server`."""

import click
from loom_agents.mcp_server import caller_of, new_server, require_scope, serve_mcp, serve_mcp_options
from loom_runner.cli_base import run_command


@click.command()
@serve_mcp_options(port=0)
def main(**options: object) -> None:
    """Serve two tools."""
    from mcp.server.mcpserver import Context

    server = new_server("typed", version="1", instructions="Says who calls.")

    @server.tool()
    def who(context: Context) -> dict[str, str]:
        """Say who calls."""
        print("this does not belong to the protocol")
        person = caller_of(context)
        return {"interface": person.interface, "name": person.name}

    @server.tool()
    def start(context: Context) -> str:
        """Start something."""
        return require_scope(context, "run").name

    serve_mcp(server, **options)


if __name__ == "__main__":
    run_command(main, name="typed")
