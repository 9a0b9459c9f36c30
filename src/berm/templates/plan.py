"""A plan: all that a build will do, as data. It crosses the wire, is printed as the dry run, and is built.

A plan holds no variable to expand and no file to read: a step carries the environment, user and directory
that it runs with, and names the files that it copies by a digest. So its cache key can be computed from the
step and its parent alone, by the client and by the server alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

VERSION = 1
"""Of the form of a plan; a server refuses others."""

SCRATCH = "scratch"


@dataclass(frozen=True, slots=True)
class Base:
    """What a stage begins with.

    `kind` "image": `name` is the reference as written, `digest` what it means (sha256:...).
    "template": `name` is a template's id, name or name:tag; `digest` is empty, the server fills in the build.
    "stage": `name` is the number of an earlier stage in the plan, as text. "scratch": nothing.
    """

    kind: Literal["image", "template", "stage", "scratch"]
    name: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Mount:
    """`RUN --mount`: something that is there while a command runs, and in no layer.

    bind: `base` and `source` name files of a stage or image; without `base` they are the uploaded files
    `files_hash`, and `source` is a path in those. What is written to it, if it is not `read_only`, is lost.
    cache: a directory kept between builds of a team, by `id`. secret: the content given to the build as
    `id`, as a file at `target` or in the variable `env`. tmpfs: empty memory of `size_mb` MiB (0: the
    default). `target` is absolute.
    """

    kind: Literal["bind", "cache", "secret", "tmpfs"]
    target: str
    source: str = ""
    base: Base | None = None
    files_hash: str = ""
    id: str = ""
    env: str = ""
    read_only: bool = False
    required: bool = False
    sharing: Literal["shared", "private", "locked"] = "shared"
    size_mb: int = 0
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """Run a program. `args` are build arguments: in its environment too, but not in the template's.

    `mounts` are in order: none is inside a later one.
    """

    argv: tuple[str, ...]
    user: str = "root"
    """As in an image: a name or uid, with or without `:group`."""
    workdir: str = "/"
    env: Mapping[str, str] = field(default_factory=dict)
    args: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    network: bool = True
    kind: Literal["run"] = "run"


@dataclass(frozen=True, slots=True)
class Inline:
    """A file whose content is in the plan: a heredoc of COPY or ADD. UTF-8."""

    name: str
    content: str


@dataclass(frozen=True, slots=True)
class Copy:
    """Copy files. Exactly one of `files_hash` (uploaded), `base` (stage or image) and `inline` is given.

    `sources` are relative to the root of what is copied from, without `..`, and may be globs (those of
    .dockerignore but no `**`): a directory's content is copied, a file itself. `target` is absolute; a `/`
    at its end, several sources or a glob make it a directory. Missing parents are made, owned by root.
    `owner` is `user`, `uid`, `user:group` or empty: then uploaded and inline files are root's, and those of a
    stage or image keep their owners. `mode` overrides every mode; `chmod`, in the symbols of chmod(1), then
    changes it. `exclude` are patterns as in .dockerignore for what is left out: of a directory by the path
    below it, of a file by its name, of what a glob stands for by both.
    `parents`: a source keeps its path in `target`, or what is after a `/./` in it; `**` in it is any number
    of directories, and patterns of `exclude` are for what it keeps.
    `unpack` (ADD): a source that is a tar archive, compressed or not, is unpacked into `target`.
    """

    sources: tuple[str, ...]
    target: str
    files_hash: str = ""
    base: Base | None = None
    inline: tuple[Inline, ...] = ()
    owner: str = ""
    mode: int | None = None
    chmod: str = ""
    exclude: tuple[str, ...] = ()
    parents: bool = False
    unpack: bool = False
    kind: Literal["copy"] = "copy"


@dataclass(frozen=True, slots=True)
class Directory:
    """Make a directory with its parents, if it is not there; what is new belongs to `owner` (as in Copy)."""

    path: str
    owner: str = ""
    kind: Literal["directory"] = "directory"


@dataclass(frozen=True, slots=True)
class Account:
    """Make sure that a user exists (USER of E2B's build steps), with a home and a group of its own."""

    name: str
    kind: Literal["account"] = "account"


Action = Run | Copy | Directory | Account


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction. `action` is None for those that only change the configuration (ENV, LABEL, ...)."""

    text: str
    """The instruction as it is shown, on one line, without what is secret."""
    line: int = 0
    """In the Dockerfile; 0 where there is none."""
    name: str = ""
    """What the step is called in logs and errors: "1", "2", ... over all stages; "base", "finalize"."""
    action: Action | None = None
    force: bool = False
    """Whether this step and those after it are done anew, whatever the cache holds."""


@dataclass(frozen=True, slots=True)
class Stage:
    name: str
    base: Base
    steps: tuple[Step, ...] = ()
    line: int = 0


@dataclass(frozen=True, slots=True)
class Health:
    """A health check: HEALTHCHECK, or the one of e2b.toml. Times are in seconds. `argv` runs as the user."""

    argv: tuple[str, ...]
    interval: float = 30.0
    timeout: float = 30.0
    start_period: float = 0.0
    start_interval: float = 5.0
    retries: int = 3


@dataclass(frozen=True, slots=True)
class Settings:
    """The configuration that a build leaves: what processes of its sandboxes get, and what an export says."""

    env: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    """As in an image; empty means `user` in a sandbox, and root for the steps of a Dockerfile."""
    workdir: str = ""
    """Empty means the user's home."""
    cmd: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    shell: tuple[str, ...] = ("/bin/sh", "-c")
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    stop_signal: str = ""
    health: Health | None = None
    onbuild: tuple[str, ...] = ()
    start_cmd: str = ""
    """A shell command that runs, in the background, in every sandbox before it is handed out."""
    ready_cmd: str = ""
    """A shell command that is repeated until it exits with 0; then the start command counts as ready."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Stages in an order in which each comes after those it needs; the last is the one that is built."""

    stages: tuple[Stage, ...]
    settings: Settings = Settings()
    provision: Literal["first", "last"] = "last"
    """Whether the account `user` is added before the first step of the last stage, as for E2B's build
    steps, or after the last one, as for a Dockerfile, whose own accounts then get their ids first."""
    force: bool = False
    """Whether the cache is not to be used at all."""
    version: int = VERSION
