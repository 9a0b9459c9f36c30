import stat
import subprocess
from pathlib import Path

import pytest

from berm.templates import modes

CHANGES = (
    "+x", "u+x", "a-w", "g=u", "o=g", "u=rwX,go=rX", "u=rw,g=,o=", "ug+rw", "go-rwx", "a=rX", "u+s",
    "g+s,o+t", "=r", "+X", "uo=x", "u=g,g=o", "a+rwx,o-w", "g-s", "u=s", "u+x-w", "+t", "o=",
)  # fmt: skip
MODES = (0o644, 0o755, 0o600, 0o750, 0o4755, 0o2644, 0o1777, 0o000, 0o444)


@pytest.mark.parametrize("changes", CHANGES)
def test_it_is_what_chmod_does(changes: str, tmp_path: Path) -> None:
    places = {(mode, kind): tmp_path / f"{kind}{mode:o}" for mode in MODES for kind in ("file", "directory")}
    for (mode, kind), place in places.items():
        place.mkdir() if kind == "directory" else place.touch()
        place.chmod(mode)
    command = ["chmod", changes, "--", *map(str, places.values())]
    subprocess.run(command, check=True, umask=0)

    was = {key: stat.S_IMODE(place.stat().st_mode) for key, place in places.items()}

    assert modes.is_symbolic(changes)
    assert {key: modes.changed(key[0], changes, key[1] == "directory") for key in places} == was


def test_nothing_added_changes_nothing() -> None:
    assert modes.changed(0o640, "u+", directory=False) == 0o640


@pytest.mark.parametrize("text", ["", "755", "q+x", "u+x,", "u+rwu", "x", "u=z", "+x;rm", "ug"])
def test_what_is_no_change(text: str) -> None:
    assert not modes.is_symbolic(text)
    with pytest.raises(ValueError, match="is no change"):
        modes.changed(0o644, text, directory=False)
