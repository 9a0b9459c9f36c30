"""e2b.toml: which template a folder makes, out of which files, and with what."""

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from berm.errors import BermError, Code
from berm.templates import textfile
from berm.templates.fields import READERS, SAME, TABLES, WrongValueError
from berm.templates.plan import Health
from berm.templates.problems import DefinitionError, Problem
from berm.templates.tomlfile import Document, KeyPath
from berm.templates.tomlfile import parse as parse_toml

FILE_NAME: Final = "e2b.toml"
DOCKERFILES: Final = ("e2b.Dockerfile", "Dockerfile")
"""What a template is built from when nothing is said: the first of these that is there."""

_Values = Mapping[KeyPath, Any]


@dataclass(frozen=True, slots=True)
class Definition:
    """A template as its e2b.toml describes it. Paths are absolute or relative to where the program runs.

    None stands for what the server decides, an empty text for what is not given.
    """

    file: Path
    """The e2b.toml itself."""
    dockerfile: Path
    """What the template is built from."""
    context: Path
    name: str = ""
    template_id: str = ""
    team_id: str = ""
    base: Path | None = None
    """A Dockerfile that `dockerfile` extends: there `FROM base` is what this one makes."""
    args: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    """The stage of `dockerfile` to build; empty means the last."""
    tags: tuple[str, ...] = ()
    start_cmd: str = ""
    ready_cmd: str = ""
    cpu_count: int | None = None
    memory_mb: int | None = None
    disk_mb: int | None = None
    timeout: float | None = None
    """Seconds that a build may take."""
    network: bool = True
    """Whether RUN may reach the internet."""
    health: Health | None = None
    """Takes the place of the Dockerfile's HEALTHCHECK."""

    @property
    def folder(self) -> Path:
        return self.file.parent

    @property
    def reference(self) -> str:
        """What to call the template when asking a server."""
        return self.name or self.template_id


def load(path: Path) -> tuple[Definition, tuple[Problem, ...]]:
    """Read the e2b.toml at `path`, or in the folder `path`; look whether the files that it names are there.

    With problems that are errors, the definition has the defaults in place of what is wrong. Raises
    DefinitionError if the file is not TOML at all, BermError if it is not there or cannot be read.
    """
    file = path / FILE_NAME if path.is_dir() else path
    document = parse_toml(_bytes_of(file), str(file))
    if isinstance(document, Problem):
        raise DefinitionError([document])
    definition, problems = _read(document)
    definition = _choose_dockerfile(definition, document)
    return definition, tuple(sorted((*problems, *_check_files(definition, document))))


def parse(text: bytes, file: str) -> tuple[Definition | None, tuple[Problem, ...]]:
    """Read the text of an e2b.toml that is called `file`, without looking at other files.

    There is no definition only if the text is not TOML.
    """
    document = parse_toml(text, file)
    return (None, (document,)) if isinstance(document, Problem) else _read(document)


def _bytes_of(file: Path) -> bytes:
    try:
        return textfile.read(file)
    except BermError as error:
        hint = "`berm template init` writes one" if error.code is Code.NOT_FOUND else error.hint
        raise BermError(error.code, error.message, hint) from None


def _read(document: Document) -> tuple[Definition, tuple[Problem, ...]]:
    values: dict[KeyPath, Any] = {}
    problems = [*_unknown(document), *_take(document, values)]
    problems += [*_merge(document, values), *_missing(document, values)]
    return _define(Path(document.file), values), tuple(sorted(problems))


def _take(document: Document, values: dict[KeyPath, Any]) -> Iterator[Problem]:
    """Reads each known key into `values`."""
    for path, reader in READERS.items():
        table = document.data.get(path[0], {}) if len(path) > 1 else document.data
        if not isinstance(table, dict) or path[-1] not in table:
            continue
        value = table[path[-1]]
        try:
            values[path] = reader(value)
        except WrongValueError as wrong:
            message = f"{_shown(path)} is {_brief(value)}: {wrong.expected}"
            yield document.problem(path, message, wrong.hint)


def _unknown(document: Document) -> Iterator[Problem]:
    for key, value in document.data.items():
        if key not in TABLES:
            yield from _unless_known(document, (key,))
        elif isinstance(value, dict):
            for inner in value:
                yield from _unless_known(document, (key, inner))
        else:
            hint = f"write [{key}] and its keys below"
            yield document.problem((key,), f"{key} is {_brief(value)}: it must be a table", hint)


def _unless_known(document: Document, path: KeyPath) -> Iterator[Problem]:
    if path not in READERS:
        yield document.problem(path, f"there is no key {_shown(path)}", _nearest(path))


def _nearest(path: KeyPath) -> str:
    """The known key that was probably meant: the same in another table, or one that is spelled alike."""
    elsewhere = [known for known in READERS if known[-1] == path[-1]]
    if elsewhere:
        return f"it is {_shown(elsewhere[0])}"
    beside = {known[-1]: known for known in READERS if known[:-1] == path[:-1]}
    names = {known[-1]: known for known in READERS} | {table: (table,) for table in TABLES} | beside
    found = difflib.get_close_matches(path[-1].lower().replace("-", "_"), names, 1, 0.6)
    return f"did you mean {_shown(names[found[0]])}?" if found else "docs/templates.md lists the keys"


def _merge(document: Document, values: dict[KeyPath, Any]) -> Iterator[Problem]:
    """Puts what has two spellings under one of them."""
    for other, path in SAME.items():
        if other not in values:
            continue
        value = values.pop(other)
        if values.setdefault(path, value) != value:
            message = f"{_shown(other)} is {_brief(value)}, but {_shown(path)} is {_brief(values[path])}"
            yield document.problem(other, message, "they mean the same: leave one out")


def _missing(document: Document, values: _Values) -> Iterator[Problem]:
    if not any(key in document.data for key in ("name", "template_name", "template_id")):
        yield Problem(document.file, 1, 1, "the template has no name", 'add name = "..."')
    elif not values.get(("name",)) and values.get(("template_id",)) == "":
        yield document.problem(
            ("template_id",), "template_id is empty and there is no name", 'add name = "..."'
        )
    if "healthcheck" in document.data and "command" not in _table(document, "healthcheck"):
        hint = 'add command = "..."'
        yield document.problem(("healthcheck",), "[healthcheck] has no command", hint)


def _table(document: Document, name: str) -> Mapping[str, Any]:
    table = document.data.get(name)
    return table if isinstance(table, dict) else {"command": None}


def _define(file: Path, values: _Values) -> Definition:
    folder = file.parent
    said, base = values.get(("dockerfile",)), values.get(("build", "dockerfile"))
    dockerfile = folder / (said or base or DOCKERFILES[0])
    simple = {path[0]: value for path, value in values.items() if len(path) == 1 and path != ("dockerfile",)}
    definition = Definition(file, dockerfile, folder / values.get(("build", "context"), "."), **simple)
    return replace(
        definition,
        base=folder / base if base and folder / base != dockerfile else None,
        args=values.get(("build", "args"), {}),
        target=values.get(("build", "target"), ""),
        health=_health(values),
    )


def _health(values: _Values) -> Health | None:
    given = {path[1]: value for path, value in values.items() if path[0] == "healthcheck"}
    command = given.pop("command", None)
    return Health(command, **given) if command else None


def _choose_dockerfile(definition: Definition, document: Document) -> Definition:
    if "dockerfile" in document.data or "dockerfile" in _table(document, "build"):
        return definition
    there = [name for name in DOCKERFILES if (definition.folder / name).exists()]
    return replace(definition, dockerfile=definition.folder / there[0]) if there else definition


def _check_files(definition: Definition, document: Document) -> Iterator[Problem]:
    root = _repository(definition.folder.resolve())
    named: list[tuple[KeyPath, Path | None]] = [
        (("dockerfile",), definition.dockerfile),
        (("build", "dockerfile"), definition.base),
        (("build", "context"), definition.context),
    ]
    for path, file in named:
        if file is not None:
            key = ("build", *path) if path not in document.places and len(path) == 1 else path
            yield from _check_file(document, key, file, root)


def _check_file(document: Document, path: KeyPath, file: Path, root: Path) -> Iterator[Problem]:
    context = path == ("build", "context")
    kind, there = ("directory", file.is_dir()) if context else ("file", file.is_file())
    if not file.resolve().is_relative_to(root):
        hint = "a template's files lie in its folder, or in the git repository around it"
        yield document.problem(path, f"{_shown(path)} is {str(file)!r}, which leads out of {root}", hint)
    elif not there:
        hint = "" if path in document.places else "add it, or name another in dockerfile"
        yield document.problem(path, f"there is no {kind} {file}", hint)


def _repository(folder: Path) -> Path:
    """The git repository that a folder is in, or the folder itself."""
    return next((parent for parent in (folder, *folder.parents) if (parent / ".git").exists()), folder)


def _shown(path: KeyPath) -> str:
    return path[0] if len(path) == 1 else f"[{path[0]}] {path[1]}"


def _brief(value: Any) -> str:
    """A value as TOML has it, or nearly."""
    if isinstance(value, tuple | list | dict | str | bool):
        text = json.dumps(value, ensure_ascii=False, default=str)
    else:
        text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
