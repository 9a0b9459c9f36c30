"""`berm template builds | logs | tag | untag | rollback | diff | stats`: builds and versions."""

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from berm.cli import output
from berm.cli.target import target
from berm.errors import BermError, Code
from berm.templates.versions import MOVING

if TYPE_CHECKING:
    from berm.cli.client import JSON, Client

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The template's name or id.")]
Reference = Annotated[
    str,
    typer.Argument(metavar="NAME[:TAG|@NUMBER]", help="A build; else the one that a sandbox starts from."),
]

_REFERENCE = re.compile(r"(?P<name>[^:@]*)(?:[:@](?P<version>.*))?", re.DOTALL)


def split(reference: str, otherwise: str = MOVING[0]) -> tuple[str, str]:
    """The name, and the tag, number or id, of `NAME[:TAG|@NUMBER]`."""
    found = _REFERENCE.fullmatch(reference)
    assert found  # noqa: S101 - everything fits
    return found["name"], found["version"] or otherwise


def builds(ctx: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """List a template's builds, newest first.

    \b
    Example:
      berm template builds web
    """
    with target(ctx).api() as api:
        found = list(api.pages("berm", "templates", name, "builds"))
    if as_json:
        output.as_json(found)
    else:
        output.table(_BUILD_COLUMNS, map(_build_row, found))


_BUILD_COLUMNS = (
    "number",
    "status",
    "tags",
    "commit",
    "actor",
    "created",
    "time",
    "cached",
    "size",
    "reason",
)


def _build_row(build: "JSON") -> tuple[object, ...]:
    return (
        build["number"],
        build["status"],
        " ".join(build["tags"]),
        _short(build.get("commit") or ""),
        build.get("actor"),
        build["createdAt"],
        output.duration(build.get("durationMs")),
        f"{build['cachedSteps']} of {_steps(build)}",
        output.size(build.get("sizeBytes")),
        build.get("reason"),
    )


def _steps(build: "JSON") -> int:
    steps = build["steps"]
    return steps if isinstance(steps, int) else len(steps)


def _short(commit: str) -> str:
    """A commit's first digits, and whether there was more to it."""
    digits, dash, rest = commit.partition("-")
    return digits[:10] + dash + rest


def logs(
    ctx: typer.Context,
    name: Name,
    build: Annotated[str, typer.Argument(help="Its number, id or a tag; else the newest.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the build is over.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the log of a build.

    \b
    Examples:
      berm template logs web
      berm template logs web 7
      berm template logs web --follow
    """
    from berm.cli import template_log  # noqa: PLC0415 - see Target.api

    with target(ctx).api() as api:
        found = _found(api, name, build)
        path = ("templates", found["templateID"], "builds", found["buildID"])
        entries = template_log.entries(api, path, follow=follow)
        if as_json:
            output.as_json(list(entries))
            return
        for entry in entries:
            output.line(template_log.shown(entry))


def _found(api: "Client", name: str, build: str) -> "JSON":
    if build:
        found: JSON = api.get("berm", "templates", name, "builds", build)
        return found
    newest = next(api.pages("berm", "templates", name, "builds", query={"limit": "1"}), None)
    if newest is None:
        raise BermError(
            Code.NOT_FOUND, f"template {name!r} has no builds", "make one with `berm template build`"
        )
    return newest


def tag(
    ctx: typer.Context,
    reference: Reference,
    tags: Annotated[list[str], typer.Argument(metavar="NEW", help="The tags to give it.")],
    as_json: AsJson = False,
) -> None:
    """Give more tags to a build. A tag that is a version, like v1.4.2, never moves; others do.

    \b
    Examples:
      berm template tag web v1.4.2
      berm template tag web@7 stable
    """
    name, _ = split(reference)
    with target(ctx).api() as api:
        made = api.post("templates", "tags", body={"target": reference, "tags": tags})
    if as_json:
        output.as_json(made)
    else:
        for given in made["tags"]:
            output.line(f"{name}:{given}")


def untag(
    ctx: typer.Context,
    name: Name,
    tags: Annotated[list[str], typer.Argument(metavar="TAG", help="The tags to take away.")],
) -> None:
    """Take tags away; the builds stay.

    \b
    Example:
      berm template untag web experiment
    """
    with target(ctx).api() as api:
        api.delete("templates", "tags", body={"name": name, "tags": tags})
    output.note(f"Removed {', '.join(f'{name}:{given}' for given in tags)}.")


def rollback(
    ctx: typer.Context,
    name: Name,
    *,
    to: Annotated[int | None, typer.Option(help="The build's number; else the one before.")] = None,
    moved: Annotated[str, typer.Option("--tag", help="The tag to move; else `default` and `latest`.")] = "",
    as_json: AsJson = False,
) -> None:
    """Move a tag back to an earlier build, in one step. Sandboxes that run go on.

    \b
    Examples:
      berm template rollback web
      berm template rollback web --to 4 --tag stable
    """
    wanted = {"tag": moved or None, "to": to}
    body = {field: value for field, value in wanted.items() if value is not None}
    with target(ctx).api() as api:
        done = api.post("berm", "templates", name, "rollback", body=body)
    if as_json:
        output.as_json(done)
    else:
        output.line(
            f"{name}: {', '.join(done['tags'])} moved from build {done['from']} to build {done['to']}"
        )


def diff(
    ctx: typer.Context,
    left: Annotated[str, typer.Argument(metavar="A", help="NAME:TAG or NAME@NUMBER.")],
    right: Annotated[str, typer.Argument(metavar="B", help="Another build of the same template.")],
    as_json: AsJson = False,
) -> None:
    """Show what is different between two builds: packages, files, size, settings.

    \b
    Examples:
      berm template diff web@3 web@4
      berm template diff web:v1.4.2 web:latest --json
    """
    (name, old), (other, new) = split(left), split(right)
    if name != other:
        raise BermError(
            Code.INVALID_ARGUMENT,
            f"{left} and {right} are builds of different templates",
            f"compare two of one, like {left} {name}:latest",
        )
    with target(ctx).api() as api:
        found = api.get("berm", "templates", name, "diff", query={"from": old, "to": new})
    if as_json:
        output.as_json(found)
    else:
        output.table(("what", "change", "from", "to"), _differences(found))


def _differences(found: "JSON") -> Iterable[tuple[object, ...]]:
    size = found["size"]
    yield "size", "", output.size(size["from"]), output.size(size["to"])
    for setting in found["settings"]:
        yield setting["field"], "setting", setting["from"], setting["to"]
    for kind in ("packages", "files"):
        for change in ("removed", "added", "changed"):
            for item in found[kind].get(change, ()):
                yield _difference(kind.removesuffix("s"), change, item)


def _difference(kind: str, change: str, item: object) -> tuple[object, ...]:
    """Of a package or a file: `{name or path, from, to}` or only its name."""
    if not isinstance(item, dict):
        return f"{kind} {item}", change, "", ""
    named = item.get("name") or item.get("path")
    version = item.get("version", "")
    old, new = (version, "") if change == "removed" else ("", version)
    return f"{kind} {named}", change, item.get("from", old), item.get("to", new)


def stats(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="A template; else all together.")] = "",
    as_json: AsJson = False,
) -> None:
    """Show how builds went: how many, how many failed and why, how long, how much came from the cache.

    \b
    Examples:
      berm template stats
      berm template stats web --json
    """
    path = ("berm", "templates", name, "stats") if name else ("berm", "stats")
    with target(ctx).api() as api:
        found = api.get(*path)
    if as_json:
        output.as_json(found)
    else:
        output.table(("field", "value"), _flat("", found))


def _flat(prefix: str, values: "JSON") -> Iterable[tuple[str, object]]:
    for field, value in values.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}{field}.", value)
        else:
            yield f"{prefix}{field}", value


COMMANDS: dict[str, Callable[..., None]] = {
    "builds": builds,
    "logs": logs,
    "tag": tag,
    "untag": untag,
    "rollback": rollback,
    "diff": diff,
    "stats": stats,
}
"""Their names under `berm template`."""
