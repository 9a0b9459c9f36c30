import os
from pathlib import Path

import pytest

from berm.errors import BermError, Code
from berm.templates import textfile


def test_a_file_is_read_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\xff")
    (tmp_path / "link").symlink_to("file")
    assert textfile.read(tmp_path / "link") == b"\xff"


def test_a_file_may_have_the_largest_size_and_no_more(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(textfile.LARGEST))
    assert len(textfile.read(file)) == textfile.LARGEST
    os.truncate(file, textfile.LARGEST + 1)
    with pytest.raises(BermError, match="has more than") as caught:
        textfile.read(file)
    assert caught.value.code is Code.TOO_LARGE


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for name in ("pipe", "endless", "."):
        with pytest.raises(BermError, match="is not a regular file"):
            textfile.read(tmp_path / name)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(
    ("name", "code"),
    [("missing", Code.NOT_FOUND), ("loop", Code.INVALID_ARGUMENT), ("f/x", Code.INVALID_ARGUMENT)],
)
def test_what_cannot_be_opened_is_told(tmp_path: Path, name: str, code: Code) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "f").touch()
    with pytest.raises(BermError, match=name) as caught:
        textfile.read(tmp_path / name)
    assert caught.value.code is code
