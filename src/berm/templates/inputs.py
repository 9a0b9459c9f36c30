"""What a build takes from outside its Dockerfile: files of the context and the network, and other stages."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from berm.errors import BermError
from berm.templates.findings import InstructionError, shown
from berm.templates.plan import Base


class Selected(Protocol):
    """What sources of COPY stand for."""

    @property
    def digest(self) -> str:
        """Of names, permissions and contents, in hex; means something only without `missing` and `errors`."""
        ...

    @property
    def missing(self) -> Sequence[str]: ...
    @property
    def ignored(self) -> Sequence[str]:
        """Those of `missing` that .dockerignore leaves out."""
        ...

    @property
    def errors(self) -> Sequence[BermError]: ...


class Files(Protocol):
    """A build context."""

    def select(
        self, sources: Sequence[str], exclude: Sequence[str] = (), parents: bool = False
    ) -> Selected: ...


@dataclass(frozen=True, slots=True)
class Download:
    """A file of ADD that the client fetches and uploads, as a tar that has nothing but it, called `name`."""

    url: str
    name: str
    checksum: str = ""
    """sha256:..., sha384:... or sha512:...; empty if the Dockerfile does not say."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Of one stage."""

    files: Files
    fetched: Callable[[Download], str]
    """The hash of what was downloaded. Raises InstructionError if it was not."""
    sources: Mapping[str, Base]
    """What `--from` stands for, by its text."""
    note: Callable[[str, str], None]
    """For a message and a hint that are no reason to stop."""

    def origin(self, text: str) -> Base:
        """A stage or image by what is written in `--from`; an error in a trigger, which has none."""
        if text not in self.sources:
            raise InstructionError(
                f"from={text} is not supported in ONBUILD", "copy from a stage where the image is used"
            )
        base = self.sources[text]
        if base.kind == "scratch":
            raise InstructionError(f"from={text} has no files", "name a stage or an image")
        return base

    def upload(self, sources: Sequence[str], exclude: Sequence[str] = (), parents: bool = False) -> str:
        """The hash of files of the context. Raises a group of InstructionError for what is not there."""
        selected = self.files.select(sources, exclude, parents)
        wrong = [InstructionError(error.message, error.hint) for error in selected.errors]
        wrong += [_missing(source, source in selected.ignored) for source in selected.missing]
        if wrong:
            raise ExceptionGroup("files that cannot be copied", wrong)
        return selected.digest


def _missing(source: str, ignored: bool) -> InstructionError:
    if ignored:
        return InstructionError(f"{shown(source)} is left out of the build context", "mend .dockerignore")
    hint = "names are relative to the build context, and .dockerignore may leave files out"
    return InstructionError(f"there is no {shown(source)} in the build context", hint)
