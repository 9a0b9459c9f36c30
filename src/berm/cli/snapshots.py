"""`berm snapshot`: what was kept of sandboxes, to begin others from."""

from typing import Annotated

import typer

from berm.cli import output
from berm.cli.sandboxes import AsJson, SandboxId
from berm.cli.target import target

app = typer.Typer(help="Keep what sandboxes have written, to begin others from.", no_args_is_help=True)


@app.command()
def create(
    ctx: typer.Context,
    sandbox_id: SandboxId,
    name: Annotated[str, typer.Argument(help="Name or name:tag; without one it is known by an id.")] = "",
    as_json: AsJson = False,
) -> None:
    """Keep the files of a sandbox, which goes on, and print what `berm sandbox create` takes for them.

    \b
    Examples:
      berm snapshot create ID
      berm snapshot create ID with-data:v1
    """
    with target(ctx).api() as api:
        made = api.post("sandboxes", sandbox_id, "snapshots", body={"name": name} if name else {})
    if as_json:
        output.as_json(made)
    else:
        output.line(made["snapshotID"])


@app.command("list")
def list_snapshots(
    ctx: typer.Context,
    sandbox: Annotated[str, typer.Option(metavar="ID", help="Only those of this sandbox.")] = "",
    as_json: AsJson = False,
) -> None:
    """List the snapshots, newest first.

    \b
    Examples:
      berm snapshot list
      berm snapshot list --sandbox ID
    """
    with target(ctx).api() as api:
        found = list(api.pages("snapshots", query={"sandboxID": sandbox} if sandbox else {}))
    if as_json:
        output.as_json(found)
    else:
        output.table(("snapshot",), ((each["snapshotID"],) for each in found))


@app.command()
def delete(
    ctx: typer.Context,
    snapshot_ids: Annotated[list[str], typer.Argument(metavar="SNAPSHOT", help="As `list` shows them.")],
) -> None:
    """Delete snapshots; sandboxes that began from them live on.

    \b
    Example:
      berm snapshot delete with-data:v1
    """
    with target(ctx).api() as api:
        for name in snapshot_ids:
            api.delete("templates", name)
            output.note(f"Deleted snapshot {name}.")
