"""`berm up`, `down`, `status` and `env`: the server of this machine."""

import shlex
import socket
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from berm.cli import daemon, output
from berm.cli.checks import Host
from berm.cli.doctor import require
from berm.cli.sandboxes import end
from berm.cli.target import local_key, target
from berm.config import Config
from berm.errors import BermError, Code
from berm.templates.base import BASE_TEMPLATE

if TYPE_CHECKING:
    from berm.cli.client import JSON, Client


def up(
    ctx: typer.Context,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay in the foreground, log to stderr.")
    ] = False,
    wait: Annotated[bool, typer.Option(help="Wait until the base template is made.")] = True,
) -> None:
    """Start the server of this machine, if it is not running.

    \b
    Examples:
      berm up
      eval "$(berm env)"
    """
    settings = target(ctx).config
    record = daemon.running(settings)
    if record is None:
        require(Host(home=settings.home, domain=settings.public_domain))
        if foreground:
            daemon.replace()
        record = daemon.start(settings)
        output.note(f"berm {record.version} listens on {record.url}")
    else:
        output.note(f"berm {record.version} is already running on {record.url} (pid {record.pid})")
    if wait:
        _wait_for_base(settings, record.url)
    output.line(record.url)
    output.note('To point the SDKs at it: eval "$(berm env)"')


def _local_api(settings: Config, url: str) -> "Client":
    from berm.cli.client import Client  # noqa: PLC0415 - see Target.api

    return Client(url, local_key(settings))


def _wait_for_base(settings: Config, url: str) -> None:
    with _local_api(settings, url) as api:
        template = _template(api.get("templates"), BASE_TEMPLATE)
        if template and template.get("buildStatus") != "ready":
            with output.activity("Making the base template; this happens once"):
                _follow(api, template)


def _template(templates: "Iterable[JSON]", name: str) -> "JSON | None":
    return next(
        (found for found in templates if name in (*found.get("names", ()), *found.get("aliases", ()))), None
    )


def _follow(api: "Client", template: "JSON") -> None:
    """Note the build's log as it grows, until it is over. Raises BermError if the build failed."""
    from berm.cli import template_log  # noqa: PLC0415 - see Target.api

    path = ("templates", template["templateID"], "builds", template["buildID"])
    _finish(template_log.follow(api, path, lambda entry: output.note(str(entry.get("message", "")))))


def _finish(status: "JSON") -> None:
    if status["status"] == "error":
        reason = status.get("reason", {}).get("message", "no reason was given")
        raise BermError(
            Code.INTERNAL,
            f"the base template could not be made: {reason}",
            "mend that, `berm down` and `berm up` again",
        )


def down(
    ctx: typer.Context,
    kill: Annotated[
        bool, typer.Option("--kill", help="End every sandbox too, and free what they held.")
    ] = False,
) -> None:
    """Stop the server. Sandboxes go on running and are found again by `berm up`, unless --kill is given.

    \b
    Examples:
      berm down
      berm down --kill
    """
    settings = target(ctx).config
    if kill:
        _kill_sandboxes(settings)
    record = daemon.stop(settings)
    output.note(f"The server (pid {record.pid}) has stopped." if record else "No server is running.")
    if kill:
        from berm.server import teardown  # noqa: PLC0415 - the server's modules are heavy

        for freed in teardown(settings):
            output.note(f"Freed: {freed}.")


def _kill_sandboxes(settings: Config) -> None:
    record = daemon.running(settings)
    if record is None:
        return
    with _local_api(settings, record.url) as api:
        ended = [end(api, found["sandboxID"]) for found in list(api.pages("v2", "sandboxes"))]
    output.note(f"Sandboxes ended: {sum(ended)}.")


def status(
    ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Show what runs: server, launcher, sandboxes, templates.

    \b
    Examples:
      berm status
      berm status --json
    """
    settings = target(ctx).config
    record = daemon.running(settings)
    shown = {
        "server": asdict(record) if record else None,
        "launcher": _accepts(settings.launcher_socket),
        **_counts(settings, record),
    }
    if as_json:
        output.as_json(shown)
    else:
        output.table(("part", "state"), _status_rows(record, shown))


def _accepts(path: Path) -> bool:
    """Whether something listens on a unix socket of packets, as the launcher does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as peer:
        return peer.connect_ex(str(path)) == 0


def _counts(settings: Config, record: daemon.Record | None) -> dict[str, int | None]:
    """What the server has; unknown without one."""
    if record is None:
        return {"sandboxes": None, "templates": None}
    with _local_api(settings, record.url) as api:
        return {
            "sandboxes": sum(1 for _ in api.pages("v2", "sandboxes", query={"state": "running"})),
            "templates": len(api.get("templates")),
        }


def _status_rows(record: daemon.Record | None, shown: Mapping[str, object]) -> list[tuple[str, object]]:
    server = (
        f"running on {record.url}, pid {record.pid}, version {record.version}" if record else "not running"
    )
    return [
        ("server", server),
        ("launcher", "running" if shown["launcher"] else "not running"),
        ("sandboxes running", shown["sandboxes"]),
        ("templates", shown["templates"]),
    ]


class Shell(StrEnum):
    SH = "sh"
    FISH = "fish"
    JSON = "json"


def env(
    ctx: typer.Context, shell: Annotated[Shell, typer.Option(help="The language to print.")] = Shell.SH
) -> None:
    """Print the variables that point the SDKs at this machine's server.

    \b
    Examples:
      eval "$(berm env)"
      berm env --shell fish | source
    """
    settings = target(ctx).config
    variables = {
        "E2B_API_URL": settings.url,
        "E2B_SANDBOX_URL": settings.url,
        "E2B_VOLUME_API_URL": settings.url,
        "E2B_API_KEY": local_key(settings),
        "E2B_DOMAIN": settings.public_domain,
        # Where `e2b auth login` sends the browser, which learns there that a key is all it takes.
        "E2B_DOCS_BASE": f"{settings.url}/docs",
    }
    if shell is Shell.JSON:
        output.as_json(variables)
        return
    for name, value in variables.items():
        output.line(_EXPORTS[shell](name, value))


def _fish_quoted(text: str) -> str:
    """Single quotes, in which fish gives a meaning to `\\` and `'` only."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


_EXPORTS = {
    Shell.SH: lambda name, value: f"export {name}={shlex.quote(value)}",
    Shell.FISH: lambda name, value: f"set -gx {name} {_fish_quoted(value)}",
}
