"""`loom-run config`: the settings, and where each one is set."""

from pathlib import Path
from typing import Any

import click
from loom_runner.cli_base import Output, choose_output, output_option, write_error, write_rows

__all__ = ["config"]


@click.command()
@click.option("--show", is_flag=True, help="Print every setting (the default).")
@click.option("--workspace", type=click.Path(path_type=Path), metavar="DIR", help="The folder with the loom.toml.")
@output_option
def config(*, show: bool, workspace: Path | None, output: Output | None) -> None:
    """Print the settings, and where each one is set.

    Options override LOOM_* environment variables, which override the project's loom.toml, which
    overrides the user's config.toml.
    """
    del show
    from loom_run._config.settings import PROJECT_FILE, USER_FILE, load_settings, user_folder

    settings = load_settings(workspace)
    rows: list[dict[str, Any]] = []
    for name, origin in settings.origins.items():
        value = getattr(settings, name)
        if name == "agents":
            value = {agent: dict(profile) for agent, profile in value.items()}
        is_guarded = settings.guarded is not None and name in settings.guarded[2]
        rows.append({"name": name, "value": value, "origin": origin, "needs_trust": is_guarded})
    style = choose_output(output)
    columns = {
        "setting": lambda row: row["name"],
        "value": lambda row: _text(row["value"]),
        "from": lambda row: row["origin"] + ("  (needs trust)" if row["needs_trust"] else ""),
    }
    write_rows(rows, columns, style, empty="nothing is set")
    if style == "text":
        write_error(f"files: {user_folder() / USER_FILE}, {(workspace or Path()) / PROJECT_FILE}")


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(value)
    return ", ".join(value) if isinstance(value, tuple) else str(value)
