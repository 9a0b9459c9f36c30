import errno
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from berm.images.lookup import Entry
from berm.images.merged import View
from tests.images.layers import directory, file, hidden, link, random_layers, whiteout
from tests.images.overlay import Tree, described, seen_by_kernel

pytestmark = pytest.mark.root


def seen(layers: Sequence[Path]) -> Tree:
    """What `seen_by_kernel` says, by the view."""
    with View(layers) as view:
        found: Tree = {}
        waiting = [view.root()]
        while waiting:
            for entry in _children(view, waiting.pop(), found):
                found[entry.path] = described(entry.status, _content(view, entry))
                if entry.is_directory:
                    waiting.append(entry)
        return found


def _children(view: View, parent: Entry, found: Tree) -> list[Entry]:
    """Its children one by one, so that one that is refused does not hide the others."""
    entries = []
    for name in view.own_names(parent, 0):
        try:
            if entry := view.child(parent, name):
                entries.append(entry)
        except OSError as error:
            found[f"{parent.path}/{name}".lstrip("/")] = [error.errno]
    return entries


def _content(view: View, entry: Entry) -> str:
    if entry.is_file:
        return view.read(entry, 1000).decode()
    if entry.is_link:
        return view.readlink(entry)
    return "" if entry.is_directory else str(entry.status.st_rdev)


@pytest.mark.parametrize("seed", range(40))
def test_random_layers_are_seen_as_the_kernel_sees_them(tmp_path: Path, seed: int) -> None:
    layers = random_layers(tmp_path, seed)
    assert seen(layers) == seen_by_kernel(layers)


def a_whiteout_and_its_return(one: Path, two: Path, three: Path) -> None:
    file(one / "d/old")
    whiteout(two / "d")
    file(three / "d/new")


def an_opaque_directory(one: Path, two: Path, three: Path) -> None:
    file(one / "d/sub/old")
    file(two / "d/kept")
    directory(two / "d", opaque=b"y")
    file(three / "d/new")


def a_file_between_directories(one: Path, two: Path, three: Path) -> None:
    file(one / "d/old")
    file(two / "d")
    file(three / "d/new")


def a_link_in_place_of_a_directory(one: Path, two: Path, three: Path) -> None:
    file(one / "bin/old")
    link(two / "bin", "usr/bin")
    directory(three / "usr/bin")


def whiteouts_by_attribute(one: Path, two: Path, three: Path) -> None:
    file(one / "d/gone", "x")
    directory(two / "d", opaque=b"x")
    hidden(two / "d/gone")
    file(three / "d/full", "content", overlay__whiteout=b"")


def attributes_on_the_roots(one: Path, two: Path, three: Path) -> None:
    file(one / "old")
    directory(two, opaque=b"y")
    directory(three, opaque=b"y")


def a_whiteout_at_the_bottom(one: Path, two: Path, three: Path) -> None:
    whiteout(one / "d/gone")
    directory(two / "d")
    directory(three / "e")


def a_redirected_directory(one: Path, two: Path, three: Path) -> None:
    file(one / "secret/key")
    directory(two / "d")
    os.setxattr(two / "d", "user.overlay.redirect", b"/secret")
    directory(one / "d")
    directory(three / "e")


def a_file_that_claims_its_content_is_elsewhere(one: Path, two: Path, three: Path) -> None:
    file(one / "f", "below")
    file(two / "f", "above", overlay__metacopy=b"", overlay__redirect=b"/secret")
    file(three / "g", "alone", overlay__metacopy=b"")
    file(one / "h", "at the bottom", overlay__metacopy=b"")
    link(three / "i", "g")


@pytest.mark.parametrize(
    "make",
    [
        a_whiteout_and_its_return,
        an_opaque_directory,
        a_file_between_directories,
        a_link_in_place_of_a_directory,
        whiteouts_by_attribute,
        attributes_on_the_roots,
        a_whiteout_at_the_bottom,
        a_redirected_directory,
        a_file_that_claims_its_content_is_elsewhere,
    ],
)
def test_chosen_layers_are_seen_as_the_kernel_sees_them(
    tmp_path: Path, make: Callable[[Path, Path, Path], None]
) -> None:
    layers = [directory(tmp_path / name) for name in ("one", "two", "three")]
    make(*layers)
    found = seen(layers)
    assert found
    assert found == seen_by_kernel(layers)


@pytest.fixture
def tangled(tmp_path: Path) -> Iterator[View]:
    """Two layers full of links."""
    one, two = directory(tmp_path / "one"), directory(tmp_path / "two")
    file(one / "usr/bin/tool", "tool")
    link(one / "bin", "usr/bin")
    link(one / "abs", "/usr")
    link(two / "up", "../../../../..")
    link(two / "usr/back", "../bin/tool")
    link(two / "loop", "loop/x")
    link(two / "a", "b")
    link(two / "b", "a")
    link(two / "nowhere", "usr/none/x")
    link(two / "usr/bin/dots", ".././/../usr/./bin")
    link(two / "link-0", "usr")
    for number in range(1, 50):
        link(two / f"link-{number}", f"link-{number - 1}")
    with View([one, two]) as view:
        yield view


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("", ""),
        ("/", ""),
        ("../..", ""),
        ("/bin/tool", "usr/bin/tool"),
        ("bin/../../usr", "usr"),
        ("abs/bin/tool", "usr/bin/tool"),
        ("up/etc/passwd", "etc/passwd"),
        ("up/up/bin", "usr/bin"),
        ("usr/back", "usr/bin/tool"),
        ("bin/dots/dots/tool", "usr/bin/tool"),
        ("nowhere", "usr/none/x"),
        ("nowhere/y/../z", "usr/none/x/z"),
        ("none/../../..", ""),
        ("none/../bin", "usr/bin"),
        ("link-39", "usr"),
        ("n" * 256, "n" * 256),
    ],
)
def test_paths_stay_inside(tangled: View, path: str, found: str) -> None:
    assert tangled.locate(path).path == found


def test_a_link_at_the_end_may_be_what_is_wanted(tangled: View) -> None:
    assert tangled.find("/abs/bin/dots", follow=False).path == "usr/bin/dots"
    assert tangled.find("bin", follow=False).is_link
    assert tangled.readlink(tangled.find("up", follow=False)) == "../../../../.."


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("loop", errno.ELOOP),
        ("a/x", errno.ELOOP),
        ("link-40", errno.ELOOP),
        ("bin/tool/x", errno.ENOTDIR),
        ("bin/tool/..", errno.ENOTDIR),
        ("nowhere", errno.ENOENT),
        ("none", errno.ENOENT),
        ("a\0b", errno.EINVAL),
    ],
)
def test_paths_that_lead_nowhere(tangled: View, path: str, code: int) -> None:
    with pytest.raises(OSError) as caught:
        tangled.find(path)
    assert caught.value.errno == code


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    layer = directory(tmp_path / "one")
    os.mkfifo(layer / "fifo")
    link(layer / "link", "/etc/passwd")
    file(layer / "file", "content")
    with View([layer]) as view:
        assert view.read(view.find("file"), 3) == b"con"
        for name in ("fifo", "link", ""):
            with pytest.raises(OSError, match="Invalid argument"):
                view.open(view.find(name, follow=False))


def test_attributes_are_without_those_of_overlayfs(tmp_path: Path) -> None:
    layer = directory(tmp_path / "one", opaque=b"y")
    os.setxattr(layer, "user.overlay.overlay.opaque", b"y")
    os.setxattr(layer, "user.note", b"\0\xff")
    with View([layer]) as view:
        assert view.attributes(view.root()) == {"user.overlay.overlay.opaque": b"y", "user.note": b"\0\xff"}


def test_a_plain_tree_is_no_layer(tmp_path: Path) -> None:
    hidden(directory(tmp_path / "one") / "x")
    with View([tmp_path / "one"], plain=True) as view:
        assert [entry.path for entry in view.walk(view.root())] == ["x"]


def test_a_deep_tree(tmp_path: Path) -> None:
    depth = 300
    path = tmp_path
    for _ in range(depth):
        path /= "d"
    path.mkdir(parents=True)
    with View([tmp_path]) as view:
        assert sum(1 for _ in view.walk(view.root())) == depth


def test_a_view_of_many_layers(tmp_path: Path) -> None:
    """More than it keeps open."""
    layers = [directory(tmp_path / str(number)) for number in range(100)]
    for number, layer in enumerate(layers):
        file(layer / f"d/e/{number}", str(number))
    with View(layers) as view:
        files = [entry for entry in view.walk(view.root()) if entry.is_file]
        assert len(files) == 100
        assert {view.read(entry, 9).decode() for entry in files} == {entry.name for entry in files}


def test_a_view_leaves_nothing_open(tmp_path: Path) -> None:
    def opened() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    layers = random_layers(tmp_path, 7)
    before = opened()
    seen(layers)
    with View(layers) as view:
        view.attributes(view.find("a"))
        with pytest.raises(OSError):
            view.find("a/b/c/a/b/c/none")
    with pytest.raises(FileNotFoundError):
        View([*layers, tmp_path / "none"])
    assert opened() == before
