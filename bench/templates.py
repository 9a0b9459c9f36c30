"""`python -m bench.templates [--rounds N]`: builds beside buildah(1), same Dockerfile and base.

Both build as whole processes, on a base that is there already: for berm its base template, for buildah the
same files imported as an image. buildah works with its fastest isolation (chroot) and native overlayfs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

from e2b import Sandbox
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench import machine

BERM: Final = str(Path(sys.executable).with_name("berm"))
NAME: Final = "bench-template"
IMAGE: Final = "e2bdev/base"
EXAMPLE: Final = Path(__file__).parent.parent / "e2b"

DOCKERFILE: Final = f"""\
FROM {IMAGE}
ENV STEP=one
WORKDIR /work
RUN echo 1 > one
RUN echo 2 > two
COPY files/ files/
RUN cat files/* > three
RUN echo 4 > four
RUN mkdir -p deep/er && echo 5 > deep/er/five
RUN echo 6 > six
RUN rm one two
CMD ["sh"]
"""
_RUNS: Final = DOCKERFILE.count("RUN")
_SMALL: Final = 10_000
_MIB: Final = 1 << 20


@dataclass(frozen=True)
class Row:
    """One line of the report: medians of berm and of what it is beside, in ms."""

    what: str
    berm: Sequence[float]
    beside: str = ""
    other: Sequence[float] = ()

    def cells(self) -> tuple[str, ...]:
        own = median(self.berm)
        if not self.other:
            return (self.what, f"{own:.0f}", self.beside, "", "")
        other = median(self.other)
        return (self.what, f"{own:.0f}", self.beside, f"{other:.0f}", f"{own / other:.2f}x")


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.templates", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    rounds: int = parser.parse_args().rounds
    if "E2B_API_URL" not in os.environ:
        sys.exit('E2B_API_URL is not set: eval "$(berm env)"')
    with tempfile.TemporaryDirectory(prefix="berm-bench-") as directory, buildah(Path(directory)) as other:
        folder = make_folder(Path(directory) / "template")
        rows = [
            *builds(folder, other, rounds),
            *copies(Path(directory), max(rounds // 3, 1)),
            *dry_run(rounds),
        ]
    table = Table("ms", "berm", "beside", "", "", title="Template builds: medians")
    for row in rows:
        table.add_row(*row.cells())
    Console().print(table)


def builds(folder: Path, other: "Buildah", rounds: int) -> Iterator[Row]:
    berm_build(folder)
    other.build(folder)
    cached: list[tuple[float, float, float]] = []
    fresh: list[tuple[float, float, float]] = []
    outputs: list[float] = []
    for _ in track(range(rounds), "Building", transient=True):
        cached.append((*berm_build(folder), timed(lambda: other.build(folder))))
        fresh.append((*berm_build(folder, "--no-cache"), timed(lambda: other.build(folder, "--no-cache"))))
        outputs.append(timed(first_output))
    runs = run_overheads()
    yield Row("all cached, whole process", [b for b, _, _ in cached], "buildah", [o for _, _, o in cached])
    yield Row("all cached, in the server", [s for _, s, _ in cached])
    yield Row("nothing cached, whole process", [b for b, _, _ in fresh], "buildah", [o for _, _, o in fresh])
    yield Row("nothing cached, in the server", [s for _, s, _ in fresh])
    yield Row(f"one of {_RUNS} RUN steps, its command's own 1 to 2 ms included", runs)
    yield Row("from the build's end to a sandbox's first output", outputs)


def berm_build(folder: Path, *options: str) -> tuple[float, float]:
    """Times of one build: the whole process, and in the server."""
    begun = time.perf_counter()
    command = [BERM, "template", "build", str(folder), "--json", *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    took = (time.perf_counter() - begun) * 1000
    return took, float(last_build()["durationMs"]) if done.returncode == 0 else 0.0


def last_build() -> dict[str, Any]:
    done = subprocess.run(
        [BERM, "template", "builds", NAME, "--json"], check=True, capture_output=True, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout)[0]
    return found


def run_overheads() -> list[float]:
    """What each RUN step of the newest build took, in ms."""
    number = str(last_build()["number"])
    command = [BERM, "template", "info", f"{NAME}:{number}", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    steps = json.loads(done.stdout)["steps"]
    return [step["durationMs"] for step in steps if step["text"].startswith("RUN")]


def first_output() -> None:
    with Sandbox.create(NAME) as sandbox:
        sandbox.commands.run("echo")


def timed(work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1000


def make_folder(path: Path) -> Path:
    (path / "files").mkdir(parents=True)
    for number in range(20):
        (path / "files" / f"{number}.txt").write_text(f"{number}\n")
    (path / "Dockerfile").write_text(DOCKERFILE)
    (path / "e2b.toml").write_text(f'name = "{NAME}"\ndockerfile = "Dockerfile"\n')
    return path


@dataclass(frozen=True)
class Buildah:
    """buildah(1) with a storage of its own."""

    storage: Path

    def run(self, *arguments: str) -> str:
        where = ("--root", str(self.storage / "root"), "--runroot", str(self.storage / "run"))
        done = subprocess.run(
            ["buildah", *where, *arguments],
            check=True,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        return done.stdout.strip()

    def build(self, folder: Path, *options: str) -> None:
        self.run(
            *("build", "--isolation", "chroot", "--layers", "--pull-never", *options),
            *("--tag", "berm-bench", str(folder)),
        )


@contextmanager
def buildah(directory: Path) -> Iterator[Buildah]:
    """With the base template's files as the image `e2bdev/base`."""
    tool = Buildah(directory / "buildah")
    with machine.base_rootfs() as rootfs:
        container = tool.run("from", "scratch")
        tool.run("add", "--quiet", container, str(rootfs), "/")
        tool.run("commit", "--quiet", "--rm", container, f"docker.io/{IMAGE}:latest")
    try:
        yield tool
    finally:
        tool.run("rmi", "--all", "--force")


def copies(directory: Path, rounds: int) -> Iterator[Row]:
    """COPY, in the server, beside cp -a of the same files into the same storage.

    In the storage cp shares the blocks of a large file; to read and write them is what it costs elsewhere.
    """
    many = directory / "many"
    (many / "files").mkdir(parents=True)
    for number in range(_SMALL):
        (many / "files" / f"{number}").write_text(f"{number}\n")
    yield _copy(f"COPY of {_SMALL} small files", many, rounds, "auto")
    big = directory / "big"
    (big / "files").mkdir(parents=True)
    with (big / "files/blob").open("wb") as file:
        for _ in range(1024):
            file.write(os.urandom(_MIB))
    yield _copy("COPY of one 1 GiB file", big, rounds, "auto")
    yield _copy("COPY of one 1 GiB file", big, rounds, "never")


def _copy(what: str, folder: Path, rounds: int, reflink: str) -> Row:
    (folder / "Dockerfile").write_text(f"FROM {IMAGE}\nCOPY files/ /copied/\n")
    (folder / "e2b.toml").write_text(f'name = "{NAME}"\ndockerfile = "Dockerfile"\n')
    own: list[float] = []
    beside: list[float] = []
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=machine.config().pool_dir) as pool:
        source = Path(pool) / "source"
        subprocess.run(["cp", "-a", str(folder / "files"), str(source)], check=True)
        for number in range(rounds):
            berm_build(folder, "--no-cache")
            own.append(_copy_step())
            target = str(Path(pool) / str(number))
            beside.append(timed(partial(_cp, source, target, reflink)))
    return Row(what, own, "cp -a" if reflink == "auto" else f"cp -a --reflink={reflink}", beside)


def _cp(source: Path, target: str, reflink: str) -> None:
    subprocess.run(["cp", "-a", f"--reflink={reflink}", str(source), target], check=True)


def _copy_step() -> float:
    command = [BERM, "template", "info", f"{NAME}:{last_build()['number']}", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(
        next(s["durationMs"] for s in json.loads(done.stdout)["steps"] if s["text"].startswith("COPY"))
    )


def dry_run(rounds: int) -> Iterator[Row]:
    command = [BERM, "template", "build", "--dry-run", str(EXAMPLE)]
    # The example's base is on a registry that may be out of reach; then the plan says so and goes on.
    times = [timed(lambda: _quiet(command)) for _ in range(rounds)]
    yield Row("dry run of the example folder, whole process", times)


def _quiet(command: Sequence[str]) -> None:
    subprocess.run(command, check=False, capture_output=True)


if __name__ == "__main__":
    main()
