"""`berm key`: the API keys of a server."""

from typing import TYPE_CHECKING, Annotated

import typer

from berm.cli import output
from berm.cli.target import target

if TYPE_CHECKING:
    from berm.cli.client import JSON

app = typer.Typer(help="API keys of the server.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def create(ctx: typer.Context, name: Annotated[str, typer.Argument()], as_json: AsJson = False) -> None:
    """Make a key and print it; it is not shown again.

    \b
    Example:
      berm key create ci
    """
    with target(ctx).api() as api:
        made = api.post("api-keys", body={"name": name})
    if as_json:
        output.as_json(made)
    else:
        output.line(made["key"])


@app.command("list")
def list_keys(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the keys, masked.

    \b
    Example:
      berm key list
    """
    with target(ctx).api() as api:
        keys = api.get("api-keys")
    if as_json:
        output.as_json(keys)
    else:
        output.table(
            ("id", "name", "key", "created", "last used"),
            ((k["id"], k["name"], _masked(k["mask"]), k["createdAt"], k.get("lastUsed")) for k in keys),
        )


def _masked(mask: "JSON") -> str:
    return f"{mask['prefix']}{mask['maskedValuePrefix']}...{mask['maskedValueSuffix']}"


@app.command()
def rename(
    ctx: typer.Context,
    key_id: Annotated[str, typer.Argument(metavar="ID")],
    name: Annotated[str, typer.Argument()],
) -> None:
    """Give a key another name.

    \b
    Example:
      berm key rename 0b5c1c36-8d2e-4d0e-9f3b-6a4f9b1f2d11 deploy
    """
    with target(ctx).api() as api:
        api.patch("api-keys", key_id, body={"name": name})
    output.note(f"Key {key_id} is called {name}.")


@app.command()
def delete(ctx: typer.Context, key_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Delete a key; who uses it is refused from then on.

    \b
    Example:
      berm key delete 0b5c1c36-8d2e-4d0e-9f3b-6a4f9b1f2d11
    """
    with target(ctx).api() as api:
        api.delete("api-keys", key_id)
    output.note(f"Deleted key {key_id}.")
