"""`berm team`: the teams of a server and what each may have, for the holder of its admin token."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from berm.cli import output
from berm.cli.keys import AsJson
from berm.cli.target import target
from berm.errors import BermError, Code

if TYPE_CHECKING:
    from berm.cli.client import JSON

app = typer.Typer(help="Teams of the server and their limits.", no_args_is_help=True)

_DEFAULT: Final = "default"
_FIELDS: Final = {"sandboxes": "maxSandboxes", "rate": "creationRate", "timeout": "maxTimeout"}
"""Our options and the fields of the wire."""

Sandboxes = Annotated[
    str, typer.Option(help="Most sandboxes running at once; 0 is no limit.", metavar="N|default")
]
Rate = Annotated[
    str, typer.Option(help="Most sandboxes begun in one second; 0 is no limit.", metavar="N|default")
]
Timeout = Annotated[str, typer.Option(help="Longest timeout in seconds.", metavar="SECONDS|default")]


@app.command()
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument()],
    *,
    sandboxes: Sandboxes = "",
    rate: Rate = "",
    timeout: Timeout = "",
    as_json: AsJson = False,
) -> None:
    """Make a team and print its first API key; the key is not shown again.

    \b
    Examples:
      berm team create research
      berm team create guests --sandboxes 20 --rate 5 --timeout 600
    """
    limits = _limits(sandboxes=sandboxes, rate=rate, timeout=timeout)
    with target(ctx).admin() as api:
        made = api.post("berm", "teams", body={"name": name, **limits})
    if as_json:
        output.as_json(made)
    else:
        output.note(f"Made team {made['name']} ({made['teamID']}); its first API key:")
        output.line(made["apiKey"])


@app.command("list")
def list_teams(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the teams, what they have running, and the limits that hold for them.

    \b
    Example:
      berm team list
    """
    with target(ctx).admin() as api:
        teams = api.get("berm", "teams")
    if as_json:
        output.as_json(teams)
    else:
        columns = ("id", "name", "running", "sandboxes", "a second", "timeout")
        output.table(columns, map(_row, teams))


@app.command()
def limits(
    ctx: typer.Context,
    team: Annotated[str, typer.Argument(help="Id or name.")],
    *,
    sandboxes: Sandboxes = "",
    rate: Rate = "",
    timeout: Timeout = "",
    as_json: AsJson = False,
) -> None:
    """Set limits of a team, or go back to the server's default; what is not named stays.

    \b
    Examples:
      berm team limits guests --sandboxes 50
      berm team limits guests --rate default --timeout default
    """
    changes = _limits(sandboxes=sandboxes, rate=rate, timeout=timeout)
    with target(ctx).admin() as api:
        changed = api.patch("berm", "teams", team, body=changes)
    if as_json:
        output.as_json(changed)
    else:
        held = dict(zip(_FIELDS, _row(changed)[-len(_FIELDS) :], strict=True))
        output.line(", ".join(f"{name} {limit}" for name, limit in held.items()))


def _row(team: "JSON") -> tuple[object, ...]:
    held = (team["inForce"][field] or "no limit" for field in _FIELDS.values())
    return (team["teamID"], team["name"], team["running"], *held)


def _limits(**texts: str) -> "JSON":
    """The limits that were named, as the wire has them."""
    return {_FIELDS[name]: _limit(name, text) for name, text in texts.items() if text}


def _limit(name: str, text: str) -> int | None:
    if text == _DEFAULT:
        return None
    if not (text.isascii() and text.isdecimal()):
        raise BermError(
            Code.INVALID_ARGUMENT, f"--{name} is {text!r}", f"give a whole number, or the word {_DEFAULT}"
        )
    return int(text)
