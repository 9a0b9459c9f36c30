"""`berm volume`: the volumes of a server."""

from typing import Annotated

import typer

from berm.cli import output
from berm.cli.target import target

app = typer.Typer(help="Volumes: directories that outlive sandboxes.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def create(ctx: typer.Context, name: Annotated[str, typer.Argument()], as_json: AsJson = False) -> None:
    """Make an empty volume and print its id. Sandboxes mount it by its name.

    \b
    Example:
      berm volume create datasets
    """
    with target(ctx).api() as api:
        made = api.post("volumes", body={"name": name})
    if as_json:
        output.as_json(made)
    else:
        output.line(made["volumeID"])


@app.command("list")
def list_volumes(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the volumes.

    \b
    Example:
      berm volume list
    """
    with target(ctx).api() as api:
        volumes = api.get("volumes")
    if as_json:
        output.as_json(volumes)
    else:
        output.table(("id", "name"), ((volume["volumeID"], volume["name"]) for volume in volumes))


@app.command()
def delete(ctx: typer.Context, volume_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Delete a volume with all that is in it; no sandbox may have it mounted.

    \b
    Example:
      berm volume delete 4fk2m0d9q8w7e6r5t1zx
    """
    with target(ctx).api() as api:
        api.delete("volumes", volume_id)
    output.note(f"Deleted volume {volume_id}.")
