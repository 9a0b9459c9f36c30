"""`berm sandbox create | list | info | logs | kill`; the others are in files of their own."""

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import quote, urlencode

import typer

from berm.cli import output
from berm.cli.target import target
from berm.errors import BermError, Code

if TYPE_CHECKING:
    from berm.cli.client import JSON, Client

app = typer.Typer(help="Make sandboxes, look at them, work in them, end them.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SandboxId = Annotated[str, typer.Argument(metavar="ID", help="The sandbox's id.")]
Metadata = Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="May be given more than once.")]
Env = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="May be given more than once.")]
Volume = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=PATH", help="A volume to mount. May be given more than once."),
]


def pairs(option: str, texts: Iterable[str]) -> dict[str, str]:
    """`KEY=VALUE` arguments as a dict. Raises BermError INVALID_ARGUMENT naming the one that is not."""
    found = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not (key and separator):
            raise BermError(
                Code.INVALID_ARGUMENT,
                f"{option} is {text!r}, which is not KEY=VALUE",
                f"write it like {option} name=value",
            )
        found[key] = value
    return found


@app.command()
def create(
    ctx: typer.Context,
    template: Annotated[str, typer.Argument(help="Name or id, also name:tag.")] = "base",
    *,
    timeout: Annotated[
        int | None, typer.Option(min=0, help="Seconds it lives; else the server's default.")
    ] = None,
    metadata: Metadata = None,
    env: Env = None,
    volume: Volume = None,
    internet: Annotated[
        bool, typer.Option("--internet/--no-internet", help="Whether it may reach the internet.")
    ] = True,
    on_timeout: Annotated[
        Literal["kill", "pause"], typer.Option(help="What happens when its time is over.")
    ] = "kill",
    auto_resume: Annotated[
        bool, typer.Option("--auto-resume", help="Let requests to its ports resume it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a sandbox and print its id.

    \b
    Examples:
      berm sandbox create
      berm sandbox create python --timeout 3600 --metadata job=7 --no-internet
      berm sandbox create web --timeout 600 --on-timeout pause --auto-resume
      berm sandbox create --volume datasets=/mnt/data
    """
    body = {
        "templateID": template,
        "secure": True,
        "allow_internet_access": internet,
        "metadata": pairs("--metadata", metadata or ()),
        "envVars": pairs("--env", env or ()),
        **({"autoPause": True} if on_timeout == "pause" else {}),
        **({"autoResume": {"enabled": True}} if auto_resume else {}),
        **({} if timeout is None else {"timeout": timeout}),
        **_mounts(pairs("--volume", volume or ())),
    }
    with target(ctx).api() as api:
        made = api.post("sandboxes", body=body)
    if as_json:
        output.as_json(made)
    else:
        output.line(made["sandboxID"])


def _mounts(volumes: Mapping[str, str]) -> "JSON":
    """As an older server takes it too where there are none."""
    mounts = [{"name": name, "path": path} for name, path in volumes.items()]
    return {"volumeMounts": mounts} if mounts else {}


@app.command("list")
def list_sandboxes(
    ctx: typer.Context,
    state: Annotated[str, typer.Option(help="running, paused, or both with a comma.")] = "",
    metadata: Metadata = None,
    as_json: AsJson = False,
) -> None:
    """List the sandboxes, newest first.

    \b
    Examples:
      berm sandbox list
      berm sandbox list --state running --metadata job=7
    """
    wanted = pairs("--metadata", metadata or ())
    query = {"state": state, "metadata": _metadata_query(wanted)}
    with target(ctx).api() as api:
        found = list(
            api.pages("v2", "sandboxes", query={name: value for name, value in query.items() if value})
        )
    if as_json:
        output.as_json(found)
    else:
        output.table(_COLUMNS, map(_row, found))


_COLUMNS = ("id", "template", "state", "started", "ends", "cpu", "memory MB", "metadata")


def _row(found: "JSON") -> tuple[object, ...]:
    name = found.get("alias") or found["templateID"]
    fields = (found[field] for field in ("state", "startedAt", "endAt", "cpuCount", "memoryMB"))
    return (found["sandboxID"], name, *fields, _joined(found.get("metadata") or {}))


def _metadata_query(wanted: dict[str, str]) -> str:
    """A query inside a query: keys and values are encoded once more than their place asks for."""
    return urlencode({quote(key, safe=""): quote(value, safe="") for key, value in wanted.items()})


def _joined(values: dict[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in values.items())


@app.command()
def info(ctx: typer.Context, sandbox_id: SandboxId, as_json: AsJson = False) -> None:
    """Show what is known of a sandbox.

    \b
    Example:
      berm sandbox info ixxxxxxxxxxxxxxxxxxx --json
    """
    with target(ctx).api() as api:
        detail = api.get("sandboxes", sandbox_id)
    if as_json:
        output.as_json(detail)
    else:
        hidden = ("envdAccessToken", "trafficAccessToken")
        output.table(("field", "value"), ((k, _shown(v)) for k, v in detail.items() if k not in hidden))


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@app.command()
def logs(ctx: typer.Context, sandbox_id: SandboxId, as_json: AsJson = False) -> None:
    """Show the log of a sandbox, oldest first.

    \b
    Example:
      berm sandbox logs ID
    """
    with target(ctx).api() as api:
        entries = api.get("sandboxes", sandbox_id, "logs")["logEntries"]
    if as_json:
        output.as_json(entries)
        return
    for entry in entries:
        fields = _joined(entry.get("fields") or {})
        output.line(f"{entry['timestamp']} {entry['level']:5} {entry['message']} {fields}".rstrip())


@app.command()
def kill(
    ctx: typer.Context,
    sandbox_ids: Annotated[list[str] | None, typer.Argument(metavar="ID", help="The sandboxes' ids.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="End every sandbox.")] = False,
) -> None:
    """End sandboxes and free what they held; prints the ids of those that were ended.

    \b
    Examples:
      berm sandbox kill ID
      berm sandbox kill --all
    """
    if bool(sandbox_ids) == everything:
        raise BermError(
            Code.INVALID_ARGUMENT, "which sandboxes to end is not clear", "name ids, or give --all"
        )
    with target(ctx).api() as api:
        named = sandbox_ids or [found["sandboxID"] for found in list(api.pages("v2", "sandboxes"))]
        missing = [name for name in named if not _end_aloud(api, name)]
    if missing and not everything:
        raise BermError(
            Code.NOT_FOUND, f"no such sandbox: {', '.join(missing)}", "`berm sandbox list` shows them"
        )


def _end_aloud(api: "Client", sandbox_id: str) -> bool:
    ended = end(api, sandbox_id)
    if ended:
        output.line(sandbox_id)
    return ended


def end(api: "Client", sandbox_id: str) -> bool:
    """End a sandbox; False if there was none."""
    try:
        api.delete("sandboxes", sandbox_id)
    except BermError as error:
        if error.code is not Code.NOT_FOUND:
            raise
        return False
    return True
