"""Cache keys: a digest of what a layer is made from. Equal keys stand for layers that can replace each other.

A key takes the parent's key, the action, and of what it copies the digest of the files or the key of the
stage; never where the instruction stands or how it is written, and never a secret.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Final

from berm.templates.plan import Action, Base, Copy, Mount, Run

PROXIES: Final = frozenset(
    name
    for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for name in (proxy, proxy.lower())
)
"""Build arguments that say how this machine reaches the network, not what is built."""


def root_key(scope: str, base: Base) -> str:
    """Of a base that is no stage. `scope` keeps teams apart; a template's digest is its build's id."""
    name = "" if base.digest else base.name
    return _digest("base", scope, base.kind, base.digest, name)


def step_key(parent: str, action: Action, stages: Sequence[str], scope: str) -> str:
    """Of the layer that an action makes on what `parent` stands for; `stages`: the keys of earlier stages."""
    return _digest("step", parent, _content(action, stages, scope))


def _content(action: Action, stages: Sequence[str], scope: str) -> object:
    value = asdict(action)
    if isinstance(action, Run):
        args = {name: text for name, text in value.pop("args").items() if name not in PROXIES}
        value["env"] = {**args, **action.env}
        value["mounts"] = [_mount(mount, stages, scope) for mount in action.mounts]
    if isinstance(action, Copy) and action.base:
        value["base"] = base_key(action.base, stages, scope)
    return value


def _mount(mount: Mount, stages: Sequence[str], scope: str) -> object:
    value = asdict(mount)
    if mount.base:
        value["base"] = base_key(mount.base, stages, scope)
    return value


def base_key(base: Base, stages: Sequence[str], scope: str) -> str:
    """Of a base of any kind."""
    return stages[int(base.name)] if base.kind == "stage" else root_key(scope, base)


def _digest(*parts: object) -> str:
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not part of a plan")
