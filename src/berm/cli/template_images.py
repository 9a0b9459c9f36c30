"""What base images mean, as the server or a registry answers."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from berm.cli.client import JSON, Client
from berm.templates.base import ResolvedImage, is_own
from berm.templates.lock import Lock
from berm.templates.plan import Health, Settings


@dataclass(frozen=True, slots=True)
class Found:
    """What a reference means, or why that cannot be said."""

    image: ResolvedImage | None
    why: str = ""
    code: str = ""
    """Which kind of reason it is; a `Code`."""


Answers = Mapping[str, Found]
"""By reference."""


def pinned(reference: str, lock: Lock) -> str:
    """What to ask about: the image that e2b.lock has for the reference, if it has one."""
    if reference not in lock.images or is_own(reference):
        return reference
    return f"{reference.partition('@')[0]}@{lock.images[reference].digest}"


def from_server(api: Client, references: Collection[str]) -> Answers:
    """Ask the server, which has its own credentials and mirrors. Raises BermError if it does not answer."""
    if not references:
        return {}
    answer = api.post("berm", "images", body={"references": list(references)})
    return {one["reference"]: _found(one) for one in answer["images"]}


def _found(answer: JSON) -> Found:
    if "digest" not in answer:
        return Found(None, str(answer["message"]), str(answer["code"]))
    return Found(ResolvedImage(answer["reference"], answer["digest"], _settings(answer["config"])))


def _settings(config: JSON) -> Settings:
    health = config.get("health")
    return Settings(
        env=config["env"],
        user=config["user"],
        workdir=config["workdir"],
        cmd=tuple(config["cmd"]),
        entrypoint=tuple(config["entrypoint"]),
        shell=tuple(config["shell"]),
        labels=config["labels"],
        ports=tuple(config["ports"]),
        volumes=tuple(config["volumes"]),
        stop_signal=config["stopSignal"],
        health=Health(**{**health, "argv": tuple(health["argv"])}) if health else None,
        onbuild=tuple(config["onbuild"]),
    )


def locked(answers: Answers, references: Collection[str], lock: Lock) -> Answers:
    """What each reference is to be taken for: the answer about the pinned image, by the reference itself."""
    found = {name: answers[pinned(name, lock)] for name in references}
    return {
        name: replace(one, image=one.image and replace(one.image, reference=name))
        for name, one in found.items()
    }
