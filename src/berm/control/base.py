"""The `base` template: made once, of an image or of Debian packages, when there is none."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from berm import ids
from berm.config import Config
from berm.control.templates import Templates
from berm.errors import BermError, Code
from berm.images import debian, registry, tree
from berm.images.config import ImageConfig
from berm.images.lines import Output
from berm.models import Resources, SandboxSpec
from berm.node.interface import Node
from berm.store.builds import Build

BASE: Final = "base"

_NO_IMAGE: Final = (Code.UNAVAILABLE, Code.NOT_OFFERED)
"""Failures of a registry or of its tools, not of the image: Debian packages can take its place."""

# Accounts are written as lines: there are as many programs for adding them as distributions, and small images
# have none. Running it again changes nothing.
PROVISION: Final = r"""
set -eu
PATH="${PATH:-}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

taken() { # FILE ID: whether a line of FILE has ID in its third field
    while IFS=: read -r _ _ id _ || [ -n "$id" ]; do
        [ "$id" != "$2" ] || return 0
    done < "$1"
    return 1
}

line_of() { # FILE NAME: the line of FILE that begins with NAME
    while IFS= read -r line || [ -n "$line" ]; do
        case "$line" in "$2":*) printf '%s\n' "$line"; return 0;; esac
    done < "$1"
    return 1
}

append() { # FILE LINE: after a last line that may not be ended
    [ -z "$(tail -c 1 "$1")" ] || echo >> "$1"
    printf '%s\n' "$2" >> "$1"
}

touch /etc/passwd /etc/group
if [ ! -x /bin/bash ]; then
    printf '#!/bin/sh\nexec /bin/sh "$@"\n' > /bin/bash
    chmod 755 /bin/bash
    echo "No bash here: /bin/bash hands over to /bin/sh"
fi
own_home=
if ! line_of /etc/passwd user > /dev/null; then
    uid=1000
    while taken /etc/passwd "$uid" || taken /etc/group "$uid"; do uid=$((uid + 1)); done
    line_of /etc/group user > /dev/null || append /etc/group "user:x:$uid:"
    gid=$(line_of /etc/group user | { IFS=: read -r _ _ gid _; echo "$gid"; })
    append /etc/passwd "user:x:$uid:$gid::/home/user:/bin/bash"
    [ ! -e /etc/shadow ] || line_of /etc/shadow user > /dev/null || append /etc/shadow "user:*:::::::"
    own_home=yes
    echo "Added user with uid $uid"
fi
IFS=: read -r _ _ uid gid _ home _ << END
$(line_of /etc/passwd user)
END
if [ ! -d "$home" ]; then
    mkdir -p "$home"
    [ ! -d /etc/skel ] || cp -R /etc/skel/. "$home"
    own_home=yes
fi
[ -z "$own_home" ] || chown -R "$uid:$gid" "$home"
# Every command starts a login shell; Debian's spends half its time on a program that tells who it is for.
if [ -f /etc/profile ] && command -v sed > /dev/null; then
    sed -i 's/"$(id -u)"/"${EUID:-$(id -u)}"/' /etc/profile
fi
if command -v sudo > /dev/null; then
    mkdir -p /etc/sudoers.d
    echo 'user ALL=(ALL:ALL) NOPASSWD: ALL' > /etc/sudoers.d/user
    chmod 0440 /etc/sudoers.d/user
fi
"""


async def begin_base(templates: Templates, team_id: str) -> Build | None:
    """Register a build of the public `base` template unless one is ready; it can then be followed."""
    if await _is_ready(templates, team_id):
        return None
    build = await templates.begin(team_id, BASE, public=True)
    await templates.start(build.build_id)
    return build


async def make_base(node: Node, templates: Templates, build: Build, config: Config) -> None:
    """Make what was begun; the build's log tells how it goes.

    What made it fail is recorded in the build, then raised; the next attempt begins anew, with the first
    layer if that was finished. Call it while nothing else makes layers.
    """
    await tree.sweep(node.layer_path(BASE).parent)
    try:
        async with _logged(templates, build.build_id) as log:
            first, image = await _first_layer(node, config, log)
            second = await _provisioned(node, first, image, log)
        await templates.finish(build, [first, second], image.env)
    except Exception as error:
        await templates.fail(build.build_id, str(error), "base")
        raise


async def _is_ready(templates: Templates, team_id: str) -> bool:
    try:
        await templates.resolve(team_id, BASE)
    except BermError:
        return False
    return True


async def _first_layer(node: Node, config: Config, log: Output) -> tuple[str, ImageConfig]:
    try:
        return await _pulled(node, config, log)
    except BermError as error:
        if error.code not in _NO_IMAGE:
            raise
        log(f"{config.base_image} cannot be pulled, so Debian packages are used: {error.message}")
    return await _bootstrapped(node, config, log), debian.CONFIG


async def _pulled(node: Node, config: Config, log: Output) -> tuple[str, ImageConfig]:
    image = await registry.inspect(config.base_image)
    name = f"img-{image.digest.removeprefix('sha256:')}"
    target = node.layer_path(name)
    if not target.exists():
        image = await registry.pull(
            registry.pinned(config.base_image, image.digest), target, target.parent, log
        )
    return name, image


async def _bootstrapped(node: Node, config: Config, log: Output) -> str:
    name = debian.layer_name()
    target = node.layer_path(name)
    if not target.exists():
        await debian.bootstrap(target, config.debian_mirror, log)
    return name


async def _provisioned(node: Node, layer: str, image: ImageConfig, log: Output) -> str:
    """Add what every sandbox has, in a sandbox on the layer; returns the layer with the additions."""
    log("Adding the user")
    spec = _spec(layer, image)
    await node.create(spec)
    try:
        await _provision(node, spec.sandbox_id, log)
        return await node.commit(spec.sandbox_id)
    finally:
        await asyncio.shield(node.kill(spec.sandbox_id))


async def _provision(node: Node, sandbox_id: str, log: Output) -> None:
    try:
        status = await node.run(sandbox_id, ["/bin/sh", "-c", PROVISION], log)
    except BermError as error:
        raise BermError(
            error.code, f"/bin/sh did not run in the image: {error.message}", "use an image with a shell"
        ) from error
    if status:
        raise BermError(Code.INTERNAL, f"adding the user to the image failed with exit code {status}")


def _spec(layer: str, image: ImageConfig) -> SandboxSpec:
    return SandboxSpec(
        sandbox_id=ids.sandbox_id(),
        layers=(layer,),
        resources=Resources(),
        allow_internet=False,
        env=image.env,
        user="root",
        workdir="/",
        access_token=ids.access_token(),
    )


@asynccontextmanager
async def _logged(templates: Templates, build_id: str) -> AsyncIterator[Output]:
    """An Output that never waits; its lines are in the build's log when the block has ended."""
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    writer = asyncio.create_task(_write(templates, build_id, lines))
    try:
        yield lines.put_nowait
    finally:
        lines.put_nowait(None)
        await writer


async def _write(templates: Templates, build_id: str, lines: asyncio.Queue[str | None]) -> None:
    while (line := await lines.get()) is not None:
        await templates.log(build_id, line)
