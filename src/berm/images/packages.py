"""What is installed in a root filesystem, by the records of dpkg, apk and Python's packages.

RPM keeps its records in a database of its own and is not read. The records are the image's own claims: they
may be wrong or hostile, so only so much of them is read, and names and versions are made safe to print.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from berm.images.lookup import Entry
from berm.images.merged import View, join

LARGEST: Final = 64 * 1024 * 1024
"""Bytes that are read of a record."""

MOST: Final = 100_000
"""Packages that are told of one kind."""

_DPKG: Final = ("var/lib/dpkg/status", "var/lib/dpkg/status.d")
"""A file; distroless images have a directory of such files."""
_APK: Final = ("lib/apk/db/installed", "usr/lib/apk/db/installed")
_PYTHON: Final = ("usr/lib", "usr/local/lib")
_LIBRARIES: Final = ("dist-packages", "site-packages")

_DIST_INFO = re.compile(r"(?P<name>[^-]+)-(?P<version>[^-]+)\.dist-info")
_PYTHON_DIRECTORY = re.compile(r"python3(\.[0-9]+)?")
_LONGEST: Final = 200

Stanza = dict[str, str]


@dataclass(frozen=True, slots=True, order=True)
class Package:
    kind: str
    """`deb`, `apk` or `python`."""
    name: str
    version: str


def installed(view: View) -> list[Package]:
    """What is installed, sorted. Records that are broken or not there count as empty."""
    found = {
        "deb": ((s["package"], s["version"]) for s in _debian(view)),
        "apk": ((s["p"], s["v"]) for s in _stanzas(view, _APK, {"p", "v"})),
        "python": _python(view),
    }
    return sorted(package for kind, pairs in found.items() for package in _packages(kind, pairs))


def _packages(kind: str, pairs: Iterable[tuple[str, str]]) -> set[Package]:
    found: set[Package] = set()
    for name, version in pairs:
        found.add(Package(kind, _printable(name), _printable(version)))
        if len(found) == MOST:
            break
    return found


def _printable(text: str) -> str:
    return "".join(sign for sign in text[:_LONGEST] if sign.isprintable())


def _debian(view: View) -> Iterator[Stanza]:
    """deb-control(5): one that is not installed any more but for its settings has a status that says so."""
    for stanza in _stanzas(view, _DPKG, {"package", "version"}):
        if stanza.get("status", "install ok installed").endswith(" installed"):
            yield stanza


def _stanzas(view: View, paths: Iterable[str], needed: set[str]) -> Iterator[Stanza]:
    """Paragraphs of `name: value` lines that have what is needed."""
    for path in paths:
        for text in _texts(view, path):
            for paragraph in re.split(r"\n\n+", text):
                stanza = _stanza(paragraph)
                if needed <= stanza.keys():
                    yield stanza


def _stanza(paragraph: str) -> Stanza:
    lines = (line.partition(":") for line in paragraph.split("\n") if not line.startswith((" ", "\t")))
    return {name.lower(): value.strip() for name, _, value in lines}


def _texts(view: View, path: str) -> Iterator[str]:
    """The content of a file, or of the files in a directory."""
    with suppress(OSError):
        entry = view.find(path)
        for file in view.children(entry) if entry.is_directory else [entry]:
            if file.is_file:
                yield view.read(file, LARGEST).decode("utf-8", "replace")


def _python(view: View) -> Iterator[tuple[str, str]]:
    """By the names of their directories, which hold name and version."""
    for prefix in _PYTHON:
        for directory in _inside(view, prefix):
            if _PYTHON_DIRECTORY.fullmatch(directory.name):
                yield from _libraries(view, directory)


def _libraries(view: View, directory: Entry) -> Iterator[tuple[str, str]]:
    for name in _LIBRARIES:
        for entry in _inside(view, join(directory.path, name)):
            if match := _DIST_INFO.fullmatch(entry.name):
                yield match["name"].lower(), match["version"]


def _inside(view: View, path: str) -> list[Entry]:
    try:
        entry = view.find(path)
        return view.children(entry) if entry.is_directory else []
    except OSError:
        return []
