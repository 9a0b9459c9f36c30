"""The configuration of an image as its registry keeps it, which may be anything, read into an ImageConfig."""

from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_pascal

from berm.images import manifest
from berm.images.config import Healthcheck, ImageConfig

MAX_SIZE: Final = 1 << 20
"""Bytes; the largest in use, with a history of hundreds of steps, have a tenth of that."""


def _text(value: str) -> str:
    if "\0" in value:
        raise ValueError("it has a NUL character")
    return value


_Text = Annotated[str, AfterValidator(_text)]
_Texts = Annotated[list[_Text], Field(fail_fast=True)]
_Number = Annotated[int, Field(ge=0, lt=2**63)]


class _Wire(BaseModel):
    model_config = ConfigDict(alias_generator=to_pascal)


class _Healthcheck(_Wire):
    test: _Texts | None = None
    interval: _Number = 0
    timeout: _Number = 0
    start_period: _Number = 0
    start_interval: _Number = 0
    retries: _Number = 0


class _Process(_Wire):
    env: _Texts | None = None
    user: _Text | None = None
    working_dir: _Text | None = None
    cmd: _Texts | None = None
    entrypoint: _Texts | None = None
    shell: _Texts | None = None
    labels: dict[_Text, _Text] | None = None
    exposed_ports: dict[_Text, Any] | None = None
    volumes: dict[_Text, Any] | None = None
    stop_signal: _Text | None = None
    on_build: _Texts | None = None
    healthcheck: _Healthcheck | None = None


class _Image(BaseModel):
    os: str = ""
    architecture: str = ""
    config: _Process | None = None


def parse(reference: str, digest: str, content: bytes) -> ImageConfig:
    """Raises BermError INVALID_ARGUMENT if it is broken, NOT_FOUND if the image is for other machines."""
    if len(content) > MAX_SIZE:
        raise manifest.refused(reference, f"has a configuration of more than {MAX_SIZE} bytes")
    try:
        image = _Image.model_validate_json(content)
    except ValidationError as error:
        raise manifest.refused(reference, f"has a broken configuration: {manifest.first(error)}") from None
    if (image.os or "linux", image.architecture or manifest.this_machine()[0]) != (
        "linux",
        manifest.this_machine()[0],
    ):
        raise manifest.unfit(reference, f"{image.os}/{image.architecture}")
    return _config(digest, image.config or _Process())


def _config(digest: str, found: _Process) -> ImageConfig:
    return ImageConfig(
        digest=digest,
        env=dict(item.split("=", 1) for item in found.env or () if item.find("=") > 0),
        user=found.user or "",
        workdir=found.working_dir or "",
        cmd=tuple(found.cmd or ()),
        entrypoint=tuple(found.entrypoint or ()),
        shell=tuple(found.shell or ()),
        labels=found.labels or {},
        ports=tuple(found.exposed_ports or ()),
        volumes=tuple(found.volumes or ()),
        stop_signal=found.stop_signal or "",
        onbuild=tuple(found.on_build or ()),
        health=_health(found.healthcheck),
    )


def _health(found: _Healthcheck | None) -> Healthcheck | None:
    if found is None or not found.test:
        return None
    return Healthcheck(**{**found.model_dump(), "test": tuple(found.test)})
