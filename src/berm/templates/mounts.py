"""RUN --mount: from the text of the flag to what is mounted."""

import csv
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from berm.templates.findings import InstructionError, nearest, shown
from berm.templates.operands import boolean, mode
from berm.templates.paths import absolute, literal, relative
from berm.templates.plan import Base, Mount

SECRETS: Final = "/run/secrets/"
"""Where a secret is that names no target."""

_ALIASES: Final = {
    "dst": "target", "destination": "target", "src": "source", "ro": "readonly", "readwrite": "rw",
}  # fmt: skip
_OPTIONS: Final = {
    "bind": ("type", "target", "source", "from", "readonly", "rw"),
    "cache": ("type", "target", "id", "sharing", "mode", "uid", "gid", "readonly", "rw"),
    "secret": ("type", "target", "id", "env", "required", "mode", "uid", "gid"),
    "tmpfs": ("type", "target", "size"),
}
_REFUSED: Final = {
    "ssh": ("type=ssh is not supported", "give the key as a secret: --mount=type=secret,id=NAME"),
}
_REFUSED_OPTIONS: Final = {
    ("cache", "from"): ("a cache cannot begin with other files", "leave from out, and copy in the command"),
    ("cache", "source"): ("a cache cannot begin with other files", "leave source out"),
    ("secret", "source"): ("a secret has no source here", "use id=NAME and give the file to the build"),
}
_SIZES: Final = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SIZE = re.compile(r"(\d{1,15})([bkmg]?)(?:i?b)?", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_ID: Final = 65535
_LARGEST_MB: Final = 65536


class Around(NamedTuple):
    """What a mount means depends on."""

    workdir: str
    expand: Callable[[str], str]
    origin: Callable[[str], Base]
    """What a `from` stands for. Raises InstructionError."""
    upload: Callable[[Sequence[str]], str]
    """Files of the context to their hash; raises InstructionError for those that are not there."""


@dataclass(frozen=True, slots=True)
class _Options:
    values: Mapping[str, str]

    def text(self, name: str) -> str:
        return self.values.get(name, "")

    def flag(self, name: str, default: bool) -> bool:
        value = self.values.get(name)
        return default if value is None else boolean(f"RUN --mount {name}", value)

    def number(self, name: str) -> int:
        value = self.values.get(name, "0")
        if not value.isdecimal() or not value.isascii() or len(value) > 5 or int(value) > _MAX_ID:
            raise InstructionError(f"--mount has {name}={shown(value)}", f"a number from 0 to {_MAX_ID}")
        return int(value)

    def mode(self, default: int) -> int:
        value = self.values.get("mode")
        return default if value is None else mode("RUN --mount mode", value)


def source(flag: str) -> str | None:
    """The stage or image that a mount is from, as it is written; None without one or for what is no mount."""
    for item in _items(flag):
        name, _, value = item.partition("=")
        if name.strip().lower() == "from":
            return value
    return None


def mounts_of(flags: Sequence[str], around: Around) -> tuple[Mount, ...]:
    """What the values of a RUN's `--mount` flags mean, outer directories first. Raises InstructionError."""
    found = [mount for flag in flags for mount in mounts(flag, around)]
    places = [mount.target for mount in found if mount.target]
    twice = next((place for place in places if places.count(place) > 1), None)
    if twice:
        raise InstructionError(f"two mounts are at {twice}", "give each a target of its own")
    return tuple(sorted(found, key=lambda mount: (mount.target.count("/"), mount.target, mount.env)))


def mounts(flag: str, around: Around) -> tuple[Mount, ...]:
    """One flag's mounts: a secret that is a file and a variable too is two. Raises InstructionError."""
    options, kind = _read(flag, around)
    return _KINDS[kind](options, around)


def _read(flag: str, around: Around) -> tuple[_Options, str]:
    values: dict[str, str] = {}
    for item in _items(flag):
        name, equals, value = item.partition("=")
        name = _ALIASES.get(name.strip().lower(), name.strip().lower())
        if not equals and name not in ("readonly", "rw", "required"):
            raise InstructionError(
                f"--mount has {shown(item)} without a value", "options are name=value, with commas"
            )
        values[name] = value if name == "from" else around.expand(value)
    kind = values.get("type", "bind").lower()
    if kind in _REFUSED:
        raise InstructionError(f"--mount={_REFUSED[kind][0]}", _REFUSED[kind][1])
    if kind not in _OPTIONS:
        raise InstructionError(f"--mount has the unknown type {shown(kind)}", nearest(kind, _OPTIONS))
    _check_names(kind, values)
    return _Options(values), kind


def _check_names(kind: str, values: Mapping[str, str]) -> None:
    for name in values:
        if (kind, name) in _REFUSED_OPTIONS and values[name].lower() not in ("false", "0"):
            message, hint = _REFUSED_OPTIONS[kind, name]
            raise InstructionError(f"--mount=type={kind}: {message}", hint)
        if name not in _OPTIONS[kind]:
            raise InstructionError(
                f"--mount=type={kind} has no option {shown(name)}", nearest(name, _OPTIONS[kind])
            )


def _items(flag: str) -> list[str]:
    """Commas separate; quotes keep an item together, as in a CSV file."""
    return [item for row in csv.reader([flag]) for item in row]


def _target(options: _Options, around: Around) -> str:
    text = options.text("target")
    if not text:
        raise InstructionError(
            f"--mount=type={options.values.get('type', 'bind')} has no target", "add target=/path"
        )
    place = absolute(text, around.workdir).rstrip("/")
    if not place:
        raise InstructionError("--mount has the target /, which is where everything is", "mount below it")
    return place


def _bind(options: _Options, around: Around) -> tuple[Mount, ...]:
    target = _target(options, around)
    origin = relative(options.text("source") or ".")
    path = "" if origin == "." else origin
    read_only = options.flag("readonly", not options.flag("rw", False))
    base = around.origin(options.text("from")) if options.text("from") else None
    if base is not None:
        return (Mount("bind", target, path, base=base, read_only=read_only),)
    files_hash = around.upload([literal(origin)])
    return (Mount("bind", target, path, files_hash=files_hash, read_only=read_only),)


def _cache(options: _Options, around: Around) -> tuple[Mount, ...]:
    target = _target(options, around)
    mount = Mount(
        "cache",
        target,
        id=options.text("id") or target,
        read_only=options.flag("readonly", False) or not options.flag("rw", True),
        sharing=_sharing(options),
        mode=options.mode(0o755),
        uid=options.number("uid"),
        gid=options.number("gid"),
    )
    return (mount,)


def _sharing(options: _Options) -> Literal["shared", "private", "locked"]:
    match options.values.get("sharing", "shared").lower():
        case "shared":
            return "shared"
        case "private":
            return "private"
        case "locked":
            return "locked"
    raise InstructionError(
        f"--mount has sharing={shown(options.text('sharing'))}", "shared, private or locked"
    )


def _secret(options: _Options, around: Around) -> tuple[Mount, ...]:
    """By default a file; with `env` a variable, and a file only if there is a target too."""
    env, target = options.text("env"), options.text("target")
    name = options.text("id") or posixpath.basename(target) or env
    if not name:
        raise InstructionError("--mount=type=secret has no id", "add id=NAME, as it is given to the build")
    if "/" in name:
        raise InstructionError(f"--mount=type=secret has the id {shown(name)}", "a name without '/'")
    if env and not _VARIABLE.fullmatch(env):
        raise InstructionError(
            f"--mount has env={shown(env)}, which is not the name of a variable", "such as API_TOKEN"
        )
    required = options.flag("required", False)
    found = (Mount("secret", "", id=name, env=env, required=required, mode=0o400),) if env else ()
    if env and not target:
        return found
    place = absolute(target or SECRETS + name, around.workdir)
    mode, uid, gid = options.mode(0o400), options.number("uid"), options.number("gid")
    return (*found, Mount("secret", place, id=name, required=required, mode=mode, uid=uid, gid=gid))


def _tmpfs(options: _Options, around: Around) -> tuple[Mount, ...]:
    return (Mount("tmpfs", _target(options, around), size_mb=_size(options), mode=0o1777),)


def _size(options: _Options) -> int:
    text = options.values.get("size", "0")
    found = _SIZE.fullmatch(text)
    size_mb = -(-int(found[1]) * _SIZES[found[2].lower()] // (1 << 20)) if found else -1
    if not 0 <= size_mb <= _LARGEST_MB:
        raise InstructionError(f"--mount has size={shown(text)}", "bytes, or such as 64m or 1g, up to 64g")
    return size_mb


_KINDS: Final[Mapping[str, Callable[[_Options, Around], tuple[Mount, ...]]]] = {
    "bind": _bind,
    "cache": _cache,
    "secret": _secret,
    "tmpfs": _tmpfs,
}
