"""`berm template export`: a build as an OCI image, for other engines."""

import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from berm.cli import output
from berm.cli.target import target
from berm.cli.template_history import Reference, split
from berm.errors import BermError, Code

if TYPE_CHECKING:
    from berm.cli.client import Client


def export(
    ctx: typer.Context,
    reference: Reference,
    file: Annotated[str, typer.Argument(metavar="[FILE]", help="Where to write an OCI archive.")] = "",
    push: Annotated[
        str,
        typer.Option(metavar="docker://IMAGE", help="Push to a registry instead, by skopeo, as you there."),
    ] = "",
) -> None:
    """Save a build as an OCI image that other engines run, or push it to a registry.

    \b
    Examples:
      berm template export web web.tar
      berm template export web:v1.4.2 --push docker://registry.example.org/web:v1.4.2
    """
    if bool(file) == bool(push) or (push and not push.startswith("docker://")):
        raise BermError(
            Code.INVALID_ARGUMENT,
            "where to is not clear",
            "give a FILE, or --push docker://REGISTRY/NAME:TAG",
        )
    with target(ctx).api() as api:
        if file:
            _save(api, reference, Path(file))
        else:
            _push(api, reference, push)
    output.note(f"Exported {reference} to {file or push}.")


def _save(api: "Client", reference: str, file: Path) -> None:
    from berm.cli import transfer  # noqa: PLC0415 - see Target.api

    name, version = split(reference)
    with (
        transfer.replacing(file) as out,
        api.download("berm", "templates", name, "export", query={"tag": version}) as response,
    ):
        transfer.receive(response, out, file.name)


def _push(api: "Client", reference: str, destination: str) -> None:
    with tempfile.TemporaryDirectory(prefix="berm-export-") as directory:
        archive = Path(directory) / "image.tar"
        _save(api, reference, archive)
        try:
            code = subprocess.call(["skopeo", "copy", "--quiet", f"oci-archive:{archive}", destination])
        except FileNotFoundError:
            raise BermError(
                Code.NOT_OFFERED, "skopeo is not installed", "install the package that has skopeo"
            ) from None
    if code:
        raise BermError(
            Code.UNAVAILABLE,
            f"skopeo could not push to {destination}: it ended with exit code {code}",
            "check the name, or log in with skopeo login",
        )
