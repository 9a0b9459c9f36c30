import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from berm.errors import Code
from berm.templates.context import Context, Selection


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A context with a bit of everything that is harmless."""
    root = tmp_path / "context"
    (root / "src" / "deep").mkdir(parents=True)
    (root / "src" / "main.py").write_text("main")
    (root / "src" / "deep" / "er.py").write_text("deeper")
    (root / "src" / "run").write_text("run")
    (root / "src" / "run").chmod(0o755)
    (root / "a.txt").write_text("a")
    (root / "b.txt").write_text("bb")
    (root / "empty").mkdir()
    (root / "src" / "link").symlink_to("main.py")
    return root


def names(selection: Selection) -> list[str]:
    assert (selection.errors, selection.missing) == ((), ())
    return [entry.path for entry in selection.entries]


SRC = ["src", "src/deep", "src/deep/er.py", "src/link", "src/main.py", "src/run"]


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        (["a.txt"], ["a.txt"]),
        (["/a.txt"], ["a.txt"]),
        (["./src/../a.txt"], ["a.txt"]),
        (["src"], SRC),
        (["src/"], SRC),
        (["src/deep"], ["src/deep", "src/deep/er.py"]),
        (["."], ["a.txt", "b.txt", "empty", *SRC]),
        ([""], ["a.txt", "b.txt", "empty", *SRC]),
        (["/"], ["a.txt", "b.txt", "empty", *SRC]),
        (["*.txt"], ["a.txt", "b.txt"]),
        (["*/main.py"], ["src/main.py"]),
        (["s*"], SRC),
        (["[ab].txt", "empty", "a.txt"], ["a.txt", "b.txt", "empty"]),
        (["src/l*"], ["src/link"]),
    ],
)
def test_what_sources_stand_for(root: Path, sources: list[str], found: list[str]) -> None:
    assert names(Context(root).select(sources)) == found


@pytest.mark.parametrize(
    ("sources", "exclude", "found"),
    [
        (["."], ["*.txt", "src"], ["empty"]),
        (["."], ["**/*.py"], ["a.txt", "b.txt", "empty", "src", "src/deep", "src/link", "src/run"]),
        (["src"], ["*.py"], ["src", "src/deep", "src/deep/er.py", "src/link", "src/run"]),
        (["src"], ["src", "src/run"], SRC),
        (["src", "a.txt"], ["deep", "link", "run", "a.txt"], ["src", "src/main.py"]),
        (["*.txt"], ["a.*"], ["b.txt"]),
        (["*"], ["src", "empty"], ["a.txt", "b.txt"]),
        (["a.txt"], ["*"], []),
    ],
)
def test_what_is_left_out_of_sources(
    root: Path, sources: list[str], exclude: list[str], found: list[str]
) -> None:
    assert names(Context(root).select(sources, exclude)) == found


@pytest.mark.parametrize(
    ("sources", "exclude", "found"),
    [
        (["src/deep/er.py"], [], ["src", "src/deep", "src/deep/er.py"]),
        (["src/./deep/er.py"], [], ["src/deep", "src/deep/er.py"]),
        (["src/deep/./er.py", "a.txt"], [], ["a.txt", "src/deep/er.py"]),
        (["**/*.py"], [], ["src", "src/deep", "src/deep/er.py", "src/main.py"]),
        (["src/./**/*.py"], ["deep"], ["src/main.py"]),
        (["src"], ["src/deep", "run"], ["src", "src/link", "src/main.py", "src/run"]),
        (["src/./."], ["deep", "main.py"], ["src", "src/link", "src/run"]),
        (["src/deep/er.py"], ["**/*.py"], []),
    ],
)
def test_sources_that_keep_their_paths(
    root: Path, sources: list[str], exclude: list[str], found: list[str]
) -> None:
    assert names(Context(root).select(sources, exclude, parents=True)) == found


def test_what_is_left_out_does_not_count(root: Path) -> None:
    before = Context(root).select(["."], ["**/*.py"]).digest
    (root / "src/main.py").write_text("changed")
    assert Context(root).select(["."], ["**/*.py"]).digest == before
    assert Context(root).select(["nope"], ["nope"]).missing == ("nope",)


def test_entries_tell_what_they_are(root: Path) -> None:
    selection = Context(root).select(["src"])
    told = {entry.path: (entry.kind, entry.mode, entry.size, entry.link) for entry in selection.entries}
    assert told["src"] == ("directory", 0o755, 0, "")
    assert told["src/run"] == ("file", 0o755, 3, "")
    assert told["src/link"] == ("link", 0o777, 0, "main.py")
    assert (selection.count, selection.bytes) == (6, 13)


def test_sources_that_stand_for_nothing_are_missing(root: Path) -> None:
    (root / ".dockerignore").write_text("a.txt\nsrc/deep\n")
    selection = Context(root).select(["nope", "*.nope", "b.txt", "a.txt", "src/deep/er.py", "b.txt/x"])
    assert selection.missing == ("nope", "*.nope", "a.txt", "src/deep/er.py", "b.txt/x")
    assert selection.ignored == ("a.txt", "src/deep/er.py")
    assert (selection.digest, selection.errors) == ("", ())


@pytest.mark.parametrize("source", [".", "", "/", "./"])
def test_an_empty_context_can_be_copied(tmp_path: Path, source: str) -> None:
    selection = Context(tmp_path).select([source])
    assert (names(selection), len(selection.digest)) == ([], 64)


def test_what_is_ignored_is_not_in_the_context(root: Path) -> None:
    (root / ".dockerignore").write_text("*\n!src/deep/er.py\n")
    assert names(Context(root).select(["."])) == ["src", "src/deep", "src/deep/er.py"]


def test_an_ignored_directory_without_exceptions_is_left_out(root: Path) -> None:
    (root / ".dockerignore").write_text("src\nempty\n.dockerignore\n!src/nope\n")
    assert names(Context(root).select(["."])) == ["a.txt", "b.txt"]


def test_the_ignore_file_of_the_dockerfile_counts(root: Path) -> None:
    (root / "e2b.Dockerfile.dockerignore").write_text("*\n!a.txt\n")
    assert names(Context(root, root / "e2b.Dockerfile").select(["."])) == ["a.txt"]


def test_problems_of_the_ignore_file(root: Path) -> None:
    (root / ".dockerignore").write_text("[\n")
    (problem,) = Context(root).problems()
    assert (problem.file, problem.line) == (str(root / ".dockerignore"), 1)


def test_a_context_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("missing", "file"):
        (problem,) = Context(tmp_path / name).problems()
        assert "cannot be read" in problem.message


@pytest.mark.parametrize(
    "source", ["../b", "..", "/../b", "a/../../b", "../*.txt", "src/../../context/a.txt"]
)
def test_a_source_outside_of_the_context_is_refused(root: Path, source: str) -> None:
    (error,) = Context(root).select([source]).errors
    assert error.code is Code.INVALID_ARGUMENT
    assert "leads out of the build context" in error.message


@pytest.mark.parametrize(
    "link", ["/etc/passwd", "../secret", "src/../../secret", "out", "other", "../context/a.txt"]
)
def test_a_source_that_is_a_link_out_of_the_context_is_refused(root: Path, link: str) -> None:
    (root.parent / "secret").write_text("secret")
    (root / "out").symlink_to(link)
    (root / "other").symlink_to("out")
    (error,) = Context(root).select(["out"]).errors
    assert "'out' leads out of the build context" in error.message


def test_a_source_behind_a_link_out_of_the_context_is_refused(root: Path) -> None:
    (root / "src" / "etc").symlink_to("/etc")
    (error,) = Context(root).select(["src/etc/passwd"]).errors
    assert "leads out" in error.message


def test_links_that_are_not_sources_stay_links(root: Path) -> None:
    for name, target in {"out": "/etc/passwd", "up": "../../..", "nowhere": "nope", "self": "self"}.items():
        (root / "src" / "deep" / name).symlink_to(target)
    selection = Context(root).select(["src/deep", "src/deep/*"])
    links = {entry.path: entry.link for entry in selection.entries if entry.kind == "link"}
    assert links == {
        "src/deep/nowhere": "nope",
        "src/deep/out": "/etc/passwd",
        "src/deep/self": "self",
        "src/deep/up": "../../..",
    }
    assert names(selection) == ["src/deep", "src/deep/er.py", *links]


def test_a_source_that_is_a_link_in_the_context_stands_for_what_is_there(root: Path) -> None:
    (root / "file").symlink_to("src/link")
    (root / "folder").symlink_to("empty/../src/deep")
    (root / "all").symlink_to(".")
    selection = Context(root).select(["file", "folder", "all/a.txt", "folder/../b.txt"])
    found = {entry.path: (entry.kind, entry.size, entry.origin) for entry in selection.entries}
    assert found == {
        "all/a.txt": ("file", 1, "a.txt"),
        "b.txt": ("file", 2, "b.txt"),
        "file": ("file", 4, "src/main.py"),
        "folder": ("directory", 0, "src/deep"),
        "folder/er.py": ("file", 6, "src/deep/er.py"),
    }


def test_a_link_to_the_whole_context_holds_itself_as_a_link(root: Path) -> None:
    (root / "all").symlink_to(".")
    found = names(Context(root).select(["all"]))
    assert ("all/all" in found, "all/src/deep/er.py" in found, "all/all/a.txt" in found) == (
        True,
        True,
        False,
    )


def test_a_link_to_what_is_ignored_is_missing(root: Path) -> None:
    (root / ".dockerignore").write_text("a.txt")
    (root / "link").symlink_to("a.txt")
    assert Context(root).select(["link"]).missing == ("link",)


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def _device(kind: int) -> Callable[[Path], None]:
    return lambda path: os.mknod(path, kind | 0o666, os.makedev(1, 3))


@pytest.mark.root
@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (_fifo, "fifo"),
        (_socket, "socket"),
        (_device(0o020000), "device"),
        (_device(0o060000), "device"),
    ],
)
def test_what_is_no_file_is_refused_where_it_is_selected(
    root: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], kind: str
) -> None:
    monkeypatch.chdir(root)  # a socket's path cannot be long
    make(Path("src/odd"))
    context = Context(root)
    (error,) = context.select(["src"]).errors
    assert error.message == f"'src/odd' is a {kind}"
    assert context.select(["src"]).digest == ""
    assert names(context.select(["src/deep"])) == ["src/deep", "src/deep/er.py"]
    (root / ".dockerignore").write_text("src/odd")
    assert names(Context(root).select(["src"])) == SRC


def test_names_need_not_be_utf8(root: Path) -> None:
    odd = root / "src" / "\udcff\udcfe"
    odd.write_text("odd")
    (root / "src" / "\udcff\udcfe-link").symlink_to("\udcfd")
    selection = Context(root).select(["src"])
    told = [(entry.path, entry.kind, entry.link) for entry in selection.entries[-2:]]
    assert told == [("src/\udcff\udcfe", "file", ""), ("src/\udcff\udcfe-link", "link", "\udcfd")]
    odd.rename(root / "src" / "\udcff\udcfd")
    assert Context(root).select(["src"]).digest not in ("", selection.digest)
    assert names(Context(root).select(["src/?\udcfd"])) == ["src/\udcff\udcfd"]


def _append(root: Path) -> None:
    with (root / "src/main.py").open("a") as file:
        file.write("!")


def _replace_run(root: Path) -> None:
    (root / "src/run").unlink()
    (root / "src/run").mkdir()


def _relink(root: Path) -> None:
    (root / "src/link").unlink()
    (root / "src/link").symlink_to("run")


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda root: (root / "src/main.py").write_text("niam"),
    "size": _append,
    "mode": lambda root: (root / "src/main.py").chmod(0o600),
    "mode of a directory": lambda root: (root / "src/deep").chmod(0o700),
    "setuid": lambda root: (root / "src/run").chmod(0o4755),
    "name": lambda root: (root / "src/main.py").rename(root / "src/mein.py"),
    "new directory": lambda root: (root / "src/new").mkdir(),
    "new file": lambda root: (root / "src/new").touch(),
    "gone": lambda root: (root / "src/run").unlink(),
    "kind": _replace_run,
    "link": _relink,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_the_digest_changes_with(root: Path, change: Callable[[Path], object]) -> None:
    before = Context(root).select(["src"]).digest
    change(root)
    assert Context(root).select(["src"]).digest not in ("", before)


@pytest.mark.root
def test_the_digest_does_not_change_with_times_owners_and_what_is_beside(root: Path, tmp_path: Path) -> None:
    before = Context(root).select(["src"]).digest
    for path in (root / "src").rglob("*"):
        os.utime(path, (1, 1), follow_symlinks=False)
        os.chown(path, 1234, 1234, follow_symlinks=False)
    (root / "src/run").chmod(0o755)
    (root / "beside").touch()
    shutil.copytree(root, tmp_path / "copy", symlinks=True)
    assert Context(tmp_path / "copy").select(["src", "src/main.py"]).digest == before


def test_content_cannot_pass_for_a_name(tmp_path: Path) -> None:
    digests = set()
    for number, (name, content) in enumerate([("a", "b"), ("ab", ""), ("a\0"[:1], "")]):
        root = tmp_path / str(number)
        root.mkdir()
        (root / name).write_text(content)
        digests.add(Context(root).select(["."]).digest)
    assert len(digests) == 3


@pytest.mark.parametrize("small", [True, False])
def test_a_file_that_changes_is_an_error(root: Path, small: bool) -> None:
    target = root / "src" / "main.py"
    target.write_bytes(b"x" * (10 if small else 3 << 20))
    context = Context(root)
    _append(root)
    (error,) = context.select(["src"]).errors
    assert (error.code, error.message) == (Code.CONFLICT, "'src/main.py' changed while it was read")


def test_a_file_that_becomes_a_link_or_a_pipe_is_an_error(root: Path) -> None:
    context = Context(root)
    (root / "a.txt").unlink()
    (root / "a.txt").symlink_to("/etc/passwd")
    (root / "b.txt").unlink()
    os.mkfifo(root / "b.txt")
    assert len(context.select(["*.txt"]).errors) == 2


def test_a_file_over_the_limit_is_an_error_and_sparse_files_count_whole(root: Path) -> None:
    os.truncate(root / "a.txt", 5 << 30)
    selection = Context(root).select(["a.txt", "b.txt"])
    (error,) = selection.errors
    assert error.code is Code.TOO_LARGE
    assert "'a.txt' has 5,368,709,120 bytes" in error.message
    assert selection.digest == ""


def test_files_over_the_limit_together_are_an_error(root: Path) -> None:
    context = Context(root, total_limit=12)
    (error,) = context.select(["src"]).errors
    assert (error.code, error.message) == (Code.TOO_LARGE, "what is copied has 13 bytes")
    assert names(context.select(["src/deep"])) == ["src/deep", "src/deep/er.py"]


def test_sparse_files_are_read(root: Path) -> None:
    os.truncate(root / "a.txt", 64 << 20)
    sparse = Context(root).select(["a.txt"])
    (root / "a.txt").write_bytes(b"a" + bytes((64 << 20) - 1))
    assert Context(root).select(["a.txt"]).digest == sparse.digest


def test_errors_have_an_end(root: Path) -> None:
    for number in range(100):
        os.mkfifo(root / f"pipe{number}")
    assert 1 < len(Context(root).select(["."]).errors) <= 20


@contextmanager
def deep(root: Path, name: str, depth: int) -> Iterator[None]:
    """Directories in each other, deeper than pytest can remove."""
    here = os.open(root, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    try:
        yield
    finally:
        subprocess.run(["rm", "-rf", "--", str(root / name)], check=True)


def test_a_tree_deeper_than_the_stack(tmp_path: Path) -> None:
    with deep(tmp_path, "d", 1500):
        assert Context(tmp_path).select(["d"]).count == 1500


def test_a_tree_with_paths_that_are_too_long_is_refused(tmp_path: Path) -> None:
    with deep(tmp_path, "d" * 200, 30):
        (error,) = Context(tmp_path).select(["."]).errors
    assert "is a directory that cannot be read" in error.message


def test_ten_thousand_files(tmp_path: Path) -> None:
    for folder in range(100):
        (tmp_path / f"{folder:02}").mkdir()
        for number in range(100):
            (tmp_path / f"{folder:02}" / f"{number:02}").write_text(f"{folder} {number}")
    (tmp_path / ".dockerignore").write_text("**/*.pyc\n**/node_modules\n.git\n5*/7?\n")
    selection = Context(tmp_path).select(["."])
    assert (selection.errors, selection.count) == ((), 1 + 100 + 10000 - 100)


def test_nothing_stays_open(root: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    (root / ".dockerignore").mkdir()
    (root / "b.txt").unlink()
    context = Context(root)
    (root / "a.txt").write_text("changed")
    context.select(["."])
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_directory_that_cannot_be_read_does_no_harm_where_it_is_left_out(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_text("d*\n!**/x\n")
    with deep(tmp_path, "d" * 200, 30):
        assert names(Context(tmp_path).select(["."])) == [".dockerignore"]
