from pathlib import Path

import pytest

from berm.errors import BermError, Code
from berm.images import accounts
from berm.images.merged import View
from tests.images.layers import directory, file, link

PASSWD = """root:x:0:0:root:/root:/bin/sh
node:x:1000:1001::/home/node:/bin/bash
node:x:7:7:a second one:/:/bin/sh
broken:x:1
huge:x:99999999999999999999:0::/:/bin/sh
outside:x:65536:0::/:/bin/sh
negative:x:-1:-1::/:/bin/sh
:x:5:5:no name:/:/bin/sh
\ud800:x:9:9::/:/bin/sh
last:x:65535:65535::/:/bin/sh"""
GROUP = "root:x:0:\nstaff:x:50:node\nbroken:x:two:\n"


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    file(tmp_path / "etc/group", GROUP)
    (tmp_path / "etc/passwd").write_bytes(PASSWD.encode("utf-8", "surrogatepass"))
    return tmp_path


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", (0, 0)),
        ("root", (0, 0)),
        ("node", (1000, 1001)),
        ("node:staff", (1000, 50)),
        ("node:7", (1000, 7)),
        ("1234", (1234, 1234)),
        ("0:0", (0, 0)),
        ("5:staff", (5, 50)),
        ("last", (65535, 65535)),
        (":staff", (0, 50)),
        ("node:", (1000, 1001)),
    ],
)
def test_owners(layer: Path, text: str, ids: tuple[int, int]) -> None:
    with View([layer]) as view:
        assert accounts.owner(view, text) == ids


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("nobody", Code.NOT_FOUND, "no user 'nobody' in the image's /etc/passwd"),
        ("node:wheel", Code.NOT_FOUND, "no group 'wheel' in the image's /etc/group"),
        ("node:broken", Code.NOT_FOUND, "no group 'broken'"),
        *((name, Code.NOT_FOUND, "no user") for name in ("broken", "huge", "outside", "negative", "-1", "²")),
        ("65536", Code.INVALID_ARGUMENT, "user id 65536 is too large"),
        ("0:9999999999999999", Code.INVALID_ARGUMENT, "group id 9999999999999999 is too large"),
    ],
)
def test_what_is_no_owner(layer: Path, text: str, code: Code, words: str) -> None:
    with View([layer]) as view, pytest.raises(BermError, match=words) as caught:
        accounts.owner(view, text)
    assert caught.value.code is code


def test_the_files_are_looked_for_inside(tmp_path: Path) -> None:
    link(tmp_path / "etc/passwd", "/../../../../usr/lib/passwd")
    file(tmp_path / "usr/lib/passwd", "inside:x:5:6::/home/inside:/bin/ash\n")
    with View([tmp_path]) as view:
        assert accounts.users(view) == {"inside": accounts.User("inside", 5, 6, "/home/inside", "/bin/ash")}


def test_there_may_be_no_files(tmp_path: Path) -> None:
    directory(tmp_path / "etc/group")
    with View([tmp_path]) as view:
        assert accounts.owner(view, "3:4") == (3, 4)
        assert accounts.users(view) == {}
        assert accounts.groups(view) == {}


def test_only_the_beginning_of_a_huge_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "one:x:1:1::/:/bin/sh\ntwo:x:2:2::/:/bin/sh\n"
    file(tmp_path / "etc/passwd", lines)
    monkeypatch.setattr(accounts, "LARGEST", len(lines) - 10)
    with View([tmp_path]) as view:
        assert list(accounts.users(view)) == ["one"]
