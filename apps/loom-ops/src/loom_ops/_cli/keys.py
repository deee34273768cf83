"""The commands for the keys that sign decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from loom_runner.cli_base import Output, choose_output, output_option, write_error, write_line, write_rows

from loom_ops._cli.options import config_option, load_settings

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["keys"]


@click.group()
def keys() -> None:
    """Keys that sign decisions.

    With `sign = "required"` under [approvals] in loom-ops.toml, an approval counts only with the
    signature of a person whose public key the site trusts.
    """


@keys.command()
@click.argument("name", default="default", metavar="[NAME]")
def new(*, name: str) -> None:
    """Make a key for yourself, and print what to give to others.

    The private key stays in your configuration folder. LOOM_OPS_KEY=NAME chooses between several.
    """
    import shlex

    from loom_ops._approvals.people import local_person
    from loom_ops._audit.private_keys import new_private_key, private_key_file

    person = local_person(load_settings(None)).name
    file = private_key_file(name)
    public = new_private_key(file)
    write_line(public)
    write_error(f"The private key is {file}. Keep it: it is never shown or overwritten.")
    write_error(f"On each site: {shlex.join(('loom-ops', 'keys', 'trust', person, public))}")


@keys.command()
@click.argument("person")
@click.argument("key", metavar="FILE|KEY")
@config_option
def trust(*, person: str, key: str, config: Path | None) -> None:
    """Trust a public key as that of PERSON, named as in the groups.

    It is written to loom-ops.keys.toml beside the settings.
    """
    from loom_ops._audit.public_keys import public_key_of
    from loom_ops._audit.trusted_keys import trust_key

    folder = load_settings(config).folder
    public = public_key_of(key)
    trust_key(folder, person, public)
    write_line(f"{person} signs with {public}")


@keys.command("list")
@config_option
@output_option
def list_keys(*, config: Path | None, output: Output | None) -> None:
    """List the keys that the site trusts."""
    from loom_ops._audit.trusted_keys import read_trusted_keys

    found = read_trusted_keys(load_settings(config).folder).keys
    names = ("person", "public", "added", "revoked")
    rows = [{name: getattr(key, name) for name in names} for key in found]
    columns = {name: lambda row, name=name: str(row[name] or "") for name in names}
    write_rows(rows, columns, choose_output(output), empty="no key is trusted")


@keys.command()
@click.argument("key")
@config_option
def revoke(*, key: str, config: Path | None) -> None:
    """Revoke a public key, given by its first 8 or more characters.

    What it signed and was not used yet no longer counts; what was used stays verified.
    """
    from loom_ops._audit.trusted_keys import revoke_key

    revoked = revoke_key(load_settings(config).folder, key)
    write_line(f"{revoked.person} no longer signs with {revoked.public}")
