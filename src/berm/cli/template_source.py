"""From a template's folder to its plan: everything that is looked at before a server builds anything."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from berm import config
from berm.errors import BermError, Code
from berm.templates import lock
from berm.templates.context import Context
from berm.templates.definition import Definition
from berm.templates.definition import load as load_definition
from berm.templates.dockerfile import Dockerfile, parse
from berm.templates.evaluate import downloads, evaluate
from berm.templates.graph import Graph, graph
from berm.templates.lock import Lock
from berm.templates.problems import DefinitionError, Problem, Severity, refuse
from berm.templates.versions import MOVING, is_tag

NOT_FETCHED = "0" * 64
"""Stands for files in a plan that is only looked at."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line says. What is None or empty is left to e2b.toml, and then to the server."""

    folder: Path
    build_args: tuple[str, ...] = ()
    stage: str = ""
    tags: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    no_cache: bool = False
    cpu: int | None = None
    memory: int | None = None
    disk: int | None = None
    update_lock: bool = False
    trial: bool = False
    as_json: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """A template's files, read and found to be right so far as that needs no base image."""

    wanted: Wanted
    definition: Definition
    dockerfile: Dockerfile
    graph: Graph
    context: Context
    lock: Lock
    problems: tuple[Problem, ...] = ()
    """Warnings."""

    @property
    def lock_file(self) -> Path:
        return self.definition.folder / lock.FILE_NAME

    @property
    def pins(self) -> Lock:
        """What FROM is pinned to: nothing when the lock is to be updated."""
        return Lock() if self.wanted.update_lock else self.lock

    @property
    def tags(self) -> tuple[str, ...]:
        """All tags that the build gets."""
        return tuple(dict.fromkeys((*MOVING, *self.definition.tags, *self.wanted.tags)))

    def sizes(self) -> dict[str, int]:
        """What its sandboxes get, as the server's calls have it."""
        sizes = {
            "cpuCount": self.wanted.cpu or self.definition.cpu_count,
            "memoryMB": self.wanted.memory or self.definition.memory_mb,
            "diskMB": self.wanted.disk or self.definition.disk_mb,
        }
        return {name: value for name, value in sizes.items() if value is not None}


def load(wanted: Wanted) -> Source:
    """Read a template's files.

    Raises DefinitionError with all that is wrong with them, BermError for what the command line says wrong.
    """
    _check_tags(wanted.tags)
    given = _build_args(wanted.build_args)
    definition, problems = load_definition(wanted.folder)
    found = list(problems)
    main = _parsed(definition.dockerfile, found)
    base = _parsed(definition.base, found) if definition.base else None
    pins = _read_lock(definition.folder / lock.FILE_NAME, found)
    context = Context(definition.context, definition.dockerfile)
    found += context.problems()
    stages = None
    if main and bool(base) == bool(definition.base):
        arguments = {**definition.args, **given}
        stages, more = graph(main, arguments, wanted.stage or definition.target, base=base)
        found += more
    if stages and any(problem.severity is Severity.ERROR for problem in found):
        found += _looked_over(stages, context)
    refuse(found)
    assert main and stages  # noqa: S101 - without them there are errors
    return Source(wanted, definition, main, stages, context, pins, tuple(sorted(found)))


def _looked_over(stages: Graph, context: Context) -> Sequence[Problem]:
    """What else is wrong, as nobody wants to hear of one mistake after the other."""
    hashes = {one.url: NOT_FETCHED for one in downloads(stages, {})}
    _, problems = evaluate(stages, {}, context, hashes)
    return problems


def _check_tags(tags: Sequence[str]) -> None:
    for tag in tags:
        if not is_tag(tag):
            hint = "tags are of lowercase letters, digits, '-', '_' and '.'"
            raise BermError(Code.INVALID_ARGUMENT, f"--tag is {tag!r}, which cannot be a tag", hint)


def _build_args(texts: Sequence[str]) -> dict[str, str]:
    return dict(map(_build_arg, texts))


def _build_arg(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    found = value if equals else config.variable(name)
    if not name or found is None:
        why = "it has no name" if not name else f"the variable {name} is not set"
        hint = "write --build-arg NAME=VALUE"
        raise BermError(Code.INVALID_ARGUMENT, f"--build-arg is {text!r}: {why}", hint)
    return name, found


def _parsed(path: Path, found: list[Problem]) -> Dockerfile | None:
    """A Dockerfile; None if it is not there, which is said elsewhere, or cannot be read."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        found.append(Problem(str(path), 1, 1, f"it cannot be read: {error.strerror}"))
        return None
    dockerfile, problems = parse(text, str(path))
    found += problems
    return dockerfile


def _read_lock(path: Path, found: list[Problem]) -> Lock:
    try:
        return lock.read(path)
    except DefinitionError as error:
        found += error.problems
        return Lock()
