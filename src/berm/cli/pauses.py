"""`berm sandbox pause | resume | fork`."""

from collections.abc import Callable, Mapping
from typing import Annotated

import typer

from berm.cli import output
from berm.cli.sandboxes import AsJson, SandboxId
from berm.cli.target import target

Timeout = Annotated[int | None, typer.Option(min=0, help="Seconds it lives; else the server's default.")]


def pause(
    ctx: typer.Context,
    sandbox_id: SandboxId,
    files_only: Annotated[
        bool, typer.Option("--files-only", help="End its processes and give their memory back.")
    ] = False,
) -> None:
    """Stop a sandbox where it is, and keep it until it is resumed or killed.

    \b
    Examples:
      berm sandbox pause ID
      berm sandbox pause ID --files-only
    """
    with target(ctx).api() as api:
        api.post("sandboxes", sandbox_id, "pause", body={"memory": not files_only})
    output.note(f"Paused {sandbox_id}; `berm sandbox resume {sandbox_id}` lets it go on.")


def resume(
    ctx: typer.Context,
    sandbox_id: SandboxId,
    *,
    timeout: Timeout = None,
    reboot: Annotated[
        bool, typer.Option("--reboot", help="Leave the processes behind that were kept.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Let a paused sandbox go on; one that runs gets more time.

    \b
    Examples:
      berm sandbox resume ID
      berm sandbox resume ID --timeout 3600 --reboot
    """
    body = {"memory": not reboot, **({} if timeout is None else {"timeout": timeout})}
    with target(ctx).api() as api:
        found = api.post("v2", "sandboxes", sandbox_id, "connect", body=body)
    if as_json:
        output.as_json(found)
    else:
        output.line(found["sandboxID"])


def fork(
    ctx: typer.Context,
    sandbox_id: SandboxId,
    *,
    count: Annotated[int, typer.Option(min=1, max=100, help="How many.")] = 1,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Make sandboxes that begin with the files of another, and print their ids.

    \b
    Examples:
      berm sandbox fork ID
      berm sandbox fork ID --count 8 --timeout 600
    """
    body = {"count": count, **({} if timeout is None else {"timeout": timeout})}
    with target(ctx).api() as api:
        made = api.post("sandboxes", sandbox_id, "fork", body=body)
    if as_json:
        output.as_json(made)
        return
    for each in made:
        if "error" in each:
            output.note(f"One did not start: {each['error']['message']}")
        else:
            output.line(each["sandbox"]["sandboxID"])


COMMANDS: Mapping[str, Callable[..., None]] = {"pause": pause, "resume": resume, "fork": fork}
