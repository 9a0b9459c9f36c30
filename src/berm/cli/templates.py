"""`berm template`: templates as code. What takes long to import is imported when a command needs it."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from berm.cli import output, scaffold, template_export, template_history
from berm.cli.target import target
from berm.cli.template_history import AsJson, Name, Reference

if TYPE_CHECKING:
    from berm.cli.client import JSON

app = typer.Typer(help="Templates: build them, look at them, go back to older ones.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="The folder that holds e2b.toml, or the file itself.")]
BuildArgs = Annotated[
    list[str] | None,
    typer.Option("--build-arg", metavar="NAME=VALUE", help="For ARG; without =VALUE from the environment."),
]
Stage = Annotated[str, typer.Option("--target", help="The stage to build; else the last.")]


class DryRun(StrEnum):
    PLAN = "plan"
    BUILD = "build"


AsDryRun = Annotated[
    DryRun | None,
    typer.Option(
        "--dry-run",
        metavar="[=build]",
        help="Show what a build would do and change nothing. --dry-run=build: build, keep nothing.",
    ),
]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="One more tag; may be given more than once.")]
Secrets = Annotated[
    list[str] | None,
    typer.Option(
        "--secret", metavar="id=ID,src=FILE|env=NAME", help="For RUN --mount=type=secret; kept nowhere."
    ),
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Do every step anew.")]
Cpu = Annotated[int | None, typer.Option(min=1, help="CPUs of its sandboxes.")]
Memory = Annotated[int | None, typer.Option(min=128, help="Memory of its sandboxes, in MiB.")]
Disk = Annotated[int | None, typer.Option(min=64, help="Disk of its sandboxes, in MiB.")]
UpdateLock = Annotated[bool, typer.Option("--update-lock", help="Let e2b.lock say what FROM means today.")]


class _BuildCommand(TyperCommand):
    """Lets `--dry-run` stand alone, which typer's options cannot."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [f"{arg}=plan" if arg == "--dry-run" else arg for arg in args])


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where to; it is made if need be.")] = Path(),
    name: Annotated[str, typer.Option(help="The template's name; else the folder's.")] = "",
    base: Annotated[str, typer.Option(help="The image to begin with.")] = "e2bdev/base",
) -> None:
    """Write the files that a template begins with: e2b.toml, Dockerfile, .dockerignore.

    \b
    Examples:
      berm template init
      berm template init sandbox --name web --base debian:12
    """
    made = scaffold.files(scaffold.checked_name(name or scaffold.name_from(folder)), base)
    for path in scaffold.write(folder, made):
        output.line(str(path))
    output.note(f"Next: berm template build {folder} --dry-run")


@app.command()
def validate(
    folder: Folder = Path(),
    *,
    build_arg: BuildArgs = None,
    stage: Stage = "",
    as_json: AsJson = False,
) -> None:
    """Check a template's files, without a server. Ends with 1 if there is an error.

    \b
    Examples:
      berm template validate
      berm template validate e2b --json
    """
    from berm.cli import template_build  # noqa: PLC0415 - see the module
    from berm.cli.template_source import Wanted  # noqa: PLC0415

    wanted = Wanted(folder, build_args=tuple(build_arg or ()), stage=stage, as_json=as_json)
    raise typer.Exit(template_build.validate(wanted))


@app.command(cls=_BuildCommand)
def build(
    ctx: typer.Context,
    folder: Folder = Path(),
    *,
    dry_run: AsDryRun = None,
    tag: Tags = None,
    build_arg: BuildArgs = None,
    secret: Secrets = None,
    no_cache: NoCache = False,
    cpu: Cpu = None,
    memory: Memory = None,
    disk: Disk = None,
    stage: Stage = "",
    update_lock: UpdateLock = False,
    as_json: AsJson = False,
) -> None:
    """Build a template, tag it `latest`, and say how to start a sandbox from it.

    Ends with 1 if the template's files are wrong or a step failed.

    \b
    Examples:
      berm template build e2b --dry-run
      berm template build e2b --tag v1.4.2
      berm template build --build-arg PYTHON=3.12 --secret id=token,env=TOKEN
    """
    from berm.cli import template_build, template_dryrun  # noqa: PLC0415 - see the module
    from berm.cli.template_source import Wanted  # noqa: PLC0415

    run = template_dryrun.run if dry_run is DryRun.PLAN else template_build.run
    wanted = Wanted(
        folder,
        build_args=tuple(build_arg or ()),
        stage=stage,
        tags=tuple(tag or ()),
        secrets=tuple(secret or ()),
        no_cache=no_cache,
        cpu=cpu,
        memory=memory,
        disk=disk,
        update_lock=update_lock,
        trial=dry_run is DryRun.BUILD,
        as_json=as_json,
    )
    raise typer.Exit(run(wanted, target(ctx)))


@app.command("list")
def list_templates(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the templates.

    \b
    Example:
      berm template list
    """
    with target(ctx).api() as api:
        found = list(api.pages("v2", "templates"))
    if as_json:
        output.as_json(found)
    else:
        output.table(_COLUMNS, map(_row, found))


_COLUMNS = ("name", "id", "builds", "last build", "cpu", "memory MB", "disk MB", "sandboxes", "updated")


def _row(found: "JSON") -> tuple[object, ...]:
    fields = ("templateID", "buildCount", "buildStatus", "cpuCount", "memoryMB", "diskSizeMB", "spawnCount")
    return (" ".join(found["names"]), *(found[field] for field in fields), found["updatedAt"])


@app.command()
def info(ctx: typer.Context, reference: Reference, as_json: AsJson = False) -> None:
    """Show a template with its tags, or with a tag or number one of its builds with its steps.

    \b
    Examples:
      berm template info web
      berm template info web:v1.4.2
      berm template info web@7
    """
    name, version = template_history.split(reference, "")
    with target(ctx).api() as api:
        if version:
            found = api.get("berm", "templates", name, "builds", version)
        else:
            found = {**api.get("templates", name), "tags": api.get("templates", name, "tags")}
    if as_json:
        output.as_json(found)
    elif version:
        _print_build(found)
    else:
        _print_template(found)


def _print_template(found: "JSON") -> None:
    tags = " ".join(tag["tag"] for tag in found["tags"])
    rows = {"names": " ".join(found["names"]), "tags": tags}
    hidden = {*rows, "builds", "aliases", "createdBy"}
    shown = {field: value for field, value in found.items() if field not in hidden}
    output.table(("field", "value"), {**rows, **shown}.items())


def _print_build(found: "JSON") -> None:
    from berm.cli import template_report  # noqa: PLC0415 - see the module

    fields = ("number", "buildID", "status", "commit", "actor", "digest", "createdAt", "finishedAt", "reason")
    output.table(
        ("field", "value"),
        [
            *((field, found.get(field)) for field in fields),
            ("tags", " ".join(found["tags"])),
            ("time", output.duration(found.get("durationMs"))),
            ("size", output.size(found.get("sizeBytes"))),
        ],
    )
    output.line()
    output.table(template_report.BUILD_STEPS, map(template_report.build_step_row, found["steps"]))


@app.command()
def delete(ctx: typer.Context, name: Name) -> None:
    """Delete a template with all its builds and tags. Sandboxes that run go on.

    \b
    Example:
      berm template delete web
    """
    with target(ctx).api() as api:
        api.delete("templates", name)
    output.note(f"Deleted template {name}.")


app.command("export")(template_export.export)
for command_name, command in template_history.COMMANDS.items():
    app.command(command_name)(command)
