"""The server's calls about one build, in the order in which they are made."""

from base64 import b64encode
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass

from berm.cli import output
from berm.cli.client import JSON, Client
from berm.cli.git import Origin
from berm.cli.template_plan import Ready
from berm.cli.template_source import Source
from berm.templates import archive
from berm.templates.context import Selection


def name_of(api: Client, source: Source) -> str:
    """The template's name; where e2b.toml has only an id, the server knows it."""
    definition = source.definition
    if definition.name:
        return definition.name
    return str(api.get("templates", definition.template_id)["names"][0])


def preview(api: Client, name: str, ready: Ready) -> JSON:
    """What a build would do: its steps, and which files the server has. Changes nothing."""
    source = ready.source
    body = {"name": name, "plan": asdict(ready.plan), "tags": list(source.tags), **source.sizes()}
    found: JSON = api.post("berm", "plan", body=body)
    return found


@dataclass(frozen=True, slots=True)
class Begun:
    """A build that the server knows of."""

    api: Client
    template_id: str
    build_id: str

    @property
    def path(self) -> tuple[str, ...]:
        """Of E2B's calls about it; ours begin with `berm`."""
        return ("templates", self.template_id, "builds", self.build_id)

    def send(self, digest: str, selection: Selection, *, compress: bool) -> None:
        """Upload files, if nobody else has meanwhile."""
        link = self.api.get("templates", self.template_id, "files", digest)
        if link["present"]:
            return
        with (
            archive.packed(selection, compress) as packed,
            output.progress(f"{selection.count} files", packed.length) as shown,
        ):
            self.api.upload(link["url"], packed, packed.length, shown)

    def start(self, ready: Ready, secrets: Mapping[str, bytes], *, trial: bool) -> None:
        known = {name: b64encode(value).decode() for name, value in secrets.items()}
        seconds = ready.source.definition.timeout
        body = {"plan": asdict(ready.plan), "secrets": known, "trial": trial}
        self.api.post("berm", *self.path, body=body if seconds is None else {**body, "timeout": seconds})

    def cancel(self) -> None:
        self.api.delete("berm", *self.path)

    def detail(self) -> JSON:
        """The build with its steps, as it is recorded."""
        found: JSON = self.api.get("berm", *self.path)
        return found


def begin(api: Client, name: str, source: Source, origin: Origin) -> Begun:
    """Ask for a new build; it waits for its files and its plan."""
    body = {"name": name, "tags": list(source.tags), **source.sizes(), **asdict(origin)}
    made = api.post("v3", "templates", body=body)
    return Begun(api, made["templateID"], made["buildID"])


def needed(ready: Ready, found: JSON) -> Collection[str]:
    """The files that the server lacks, of those that steps use which are not cached."""
    missing = {digest for digest, present in found["files"].items() if not present}
    built = {step["name"] for step in found["steps"] if step["state"] == "build"}
    return [
        digest for digest in ready.selections if digest in missing and built.intersection(ready.users(digest))
    ]
