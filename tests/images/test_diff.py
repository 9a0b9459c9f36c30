import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from berm.images import diff
from berm.images.diff import FileChanges, PackageChange, SettingChange
from berm.images.merged import View
from berm.images.packages import Package
from berm.templates.plan import Health, Settings
from tests.images.layers import directory, file, link, random_layers, whiteout

pytestmark = pytest.mark.root


@pytest.fixture
def layers(tmp_path: Path) -> list[Path]:
    return [directory(tmp_path / name) for name in ("one", "two", "three")]


async def changes(before: Sequence[Path], after: Sequence[Path]) -> FileChanges:
    return (await diff.compare(before, after)).files


async def test_files(layers: list[Path]) -> None:
    one, two, three = layers
    for name in ("kept", "content", "mode", "owner", "gone", "touched", "dir/a", "dir/b"):
        file(one / "d" / name, "same")
    link(one / "d/link", "a")
    file(two / "d/content", "else")
    file(two / "d/mode", "same", 0o600)
    os.chown(file(two / "d/owner", "same"), 1, 1)
    os.utime(file(two / "d/touched", "same"), (1, 1))
    link(two / "d/link", "b")
    whiteout(two / "d/gone")
    file(two / "d/dir")
    file(two / "new/x/y")
    file(three / "d/kept", "same")
    assert await changes([one], [one, two, three]) == FileChanges(
        added=("/new", "/new/x", "/new/x/y"),
        removed=("/d/dir/a", "/d/dir/b", "/d/gone"),
        changed=("/d/content", "/d/dir", "/d/link", "/d/mode", "/d/owner"),
        total_added=3,
        total_removed=3,
        total_changed=5,
    )


async def test_equal_chains(layers: list[Path]) -> None:
    file(layers[0] / "f", "x")
    assert await changes(layers, layers) == FileChanges((), (), (), 0, 0, 0)


def brute(before: Sequence[Path], after: Sequence[Path]) -> FileChanges:
    """The same by looking at everything."""
    with View(before) as old, View(after) as new:
        was = {entry.path: entry for entry in old.walk(old.root())}
        now = {entry.path: entry for entry in new.walk(new.root())}

        def content(view: View, path: str) -> tuple[object, ...]:
            entry = view.find(path, follow=False)
            status = entry.status
            more = view.read(entry, 1000) if entry.is_file else view.readlink(entry) if entry.is_link else b""
            return (status.st_mode, status.st_uid, status.st_gid, more)

        added = sorted(f"/{path}" for path in now.keys() - was.keys())
        removed = sorted(f"/{path}" for path in was.keys() - now.keys())
        both = sorted(was.keys() & now.keys())
        changed = [f"/{path}" for path in both if content(old, path) != content(new, path)]
    return FileChanges(tuple(added), tuple(removed), tuple(changed), len(added), len(removed), len(changed))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("before", "after"), [("0", "0123"), ("012", "013"), ("01", "23"), ("0123", "01")])
async def test_random_layers(tmp_path: Path, seed: int, before: str, after: str) -> None:
    made = random_layers(tmp_path, seed, redirects=False)
    old, new = ([made[int(number)] for number in numbers] for numbers in (before, after))
    assert await changes(old, new) == brute(old, new)


async def test_what_is_shared_is_not_read(layers: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(50):
        file(layers[0] / f"d{number}/f")
    file(layers[1] / "d1/new")
    seen: list[str] = []
    child = View.child

    def counted(self: View, parent: object, name: str) -> object:
        seen.append(name)
        return child(self, parent, name)  # type: ignore[arg-type]

    monkeypatch.setattr(View, "child", counted)
    assert (await changes(layers[:1], layers[:2])).added == ("/d1/new",)
    assert {name for name in seen if name.startswith("d") and name[1:].isdigit()} == {"d1"}


async def test_lists_are_bounded_and_totals_are_not(
    layers: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diff, "LISTED", 2)
    for name in "abcde":
        file(layers[1] / name)
    found = await changes(layers[:1], layers[:2])
    assert (found.added, found.total_added) == (("/a", "/b"), 5)


async def test_names_that_are_no_text(layers: list[Path]) -> None:
    file(layers[1] / os.fsdecode(b"\xff"))
    assert (await changes(layers[:1], layers[:2])).added == ("/�",)


async def test_packages(layers: list[Path]) -> None:
    def status(**versions: str) -> str:
        return "\n".join(f"Package: {name}\nVersion: {version}\n" for name, version in versions.items())

    file(layers[0] / "var/lib/dpkg/status", status(kept="1", moved="1", gone="1"))
    file(layers[1] / "var/lib/dpkg/status", status(kept="1", moved="2", new="1"))
    found = (await diff.compare(layers[:1], layers[:2])).packages
    assert found.added == (Package("deb", "new", "1"),)
    assert found.removed == (Package("deb", "gone", "1"),)
    assert found.changed == (PackageChange("deb", "moved", "1", "2"),)


def test_settings() -> None:
    before = Settings(env={"A": "1", "B": "2"}, user="root", cmd=("a",))
    after = Settings(env={"A": "1", "B": "3", "C": "4"}, cmd=("a", "b"), health=Health(("true",)))
    assert diff.settings(before, after) == (
        SettingChange("env.B", "2", "3"),
        SettingChange("env.C", None, "4"),
        SettingChange("user", "root", ""),
        SettingChange("cmd", ("a",), ("a", "b")),
        SettingChange("health", None, Health(("true",))),
    )
    assert diff.settings(before, before) == ()
