"""What base images mean, where there is no server to ask."""

import asyncio
from collections.abc import Collection

from berm.cli.template_images import Answers, Found
from berm.errors import BermError
from berm.images import registry
from berm.templates.base import ResolvedImage, is_own, settings_of


def resolved(references: Collection[str]) -> Answers:
    """Ask the registries themselves, by skopeo, with this machine's credentials and mirrors."""
    return asyncio.run(_all(references))


async def _all(references: Collection[str]) -> Answers:
    found = await asyncio.gather(*map(_one, references))
    return dict(zip(references, found, strict=True))


async def _one(reference: str) -> Found:
    if is_own(reference):
        return Found(None, "it is the server's own base template, and no server was asked")
    try:
        config = await registry.inspect(reference)
    except BermError as error:
        return Found(None, error.message, error.code)
    return Found(ResolvedImage(reference, config.digest, settings_of(config)))
