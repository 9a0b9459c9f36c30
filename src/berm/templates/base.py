"""What an image's configuration means to a build that begins with it."""

from dataclasses import dataclass
from typing import Final

from berm.images.config import Healthcheck, ImageConfig
from berm.templates.plan import Health, Settings

SHELL: Final = ("/bin/sh", "-c")
BASE_TEMPLATE: Final = "base"
"""The name of our base template."""
OWN: Final = "e2bdev/base"
"""The image that E2B's SDKs begin with when they are told no other; our base template stands for it."""

_SECOND: Final = 1e9
_OWN_NAMES: Final = frozenset(
    f"{registry}{OWN}{tag}" for registry in ("", "docker.io/", "index.docker.io/") for tag in ("", ":latest")
)


@dataclass(frozen=True, slots=True)
class ResolvedImage:
    """An image that a reference was found to mean."""

    reference: str
    digest: str
    settings: Settings


def is_own(reference: str) -> bool:
    """Whether the base template of the server stands for this image."""
    return reference in _OWN_NAMES


def settings_of(config: ImageConfig) -> Settings:
    """The configuration that a build on this image begins with."""
    return Settings(
        env=config.env,
        user=config.user,
        workdir=config.workdir,
        cmd=config.cmd,
        entrypoint=config.entrypoint,
        shell=config.shell or SHELL,
        labels=config.labels,
        ports=config.ports,
        volumes=config.volumes,
        stop_signal=config.stop_signal,
        health=health_of(config.health, config.shell or SHELL),
        onbuild=config.onbuild,
    )


def health_of(check: Healthcheck | None, shell: tuple[str, ...]) -> Health | None:
    """None for an image without a check, or with `HEALTHCHECK NONE`."""
    if check is None or check.test[0] not in ("CMD", "CMD-SHELL"):
        return None
    kind, *words = check.test
    default = Health(argv=tuple(words) if kind == "CMD" else (*shell, *words))
    return Health(
        argv=default.argv,
        interval=check.interval / _SECOND or default.interval,
        timeout=check.timeout / _SECOND or default.timeout,
        start_period=check.start_period / _SECOND,
        start_interval=check.start_interval / _SECOND or default.start_interval,
        retries=check.retries or default.retries,
    )


def config_of(settings: Settings) -> ImageConfig:
    """What an image of a build says: the other way round."""
    return ImageConfig(
        env=settings.env,
        user=settings.user,
        workdir=settings.workdir,
        cmd=settings.cmd,
        entrypoint=settings.entrypoint,
        shell=() if settings.shell == SHELL else settings.shell,
        labels=settings.labels,
        ports=settings.ports,
        volumes=settings.volumes,
        stop_signal=settings.stop_signal,
        health=_healthcheck(settings.health) if settings.health else None,
        onbuild=settings.onbuild,
    )


def _healthcheck(health: Health) -> Healthcheck:
    times = (health.interval, health.timeout, health.start_period, health.start_interval)
    interval, timeout, start_period, start_interval = (round(seconds * _SECOND) for seconds in times)
    return Healthcheck(("CMD", *health.argv), interval, timeout, start_period, start_interval, health.retries)
