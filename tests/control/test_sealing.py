import stat
from base64 import b64encode
from pathlib import Path

import pytest

from berm.control import sealing
from berm.control.sealing import Seal, WrongKeyError
from berm.errors import BermError, Code

KEY, OTHER = bytes(range(32)), bytes(32)
PLACE = ("team", "secret", "1")


def test_what_is_sealed_is_opened_in_the_same_place() -> None:
    sealed = Seal(KEY).close("gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n", *PLACE)
    assert Seal(KEY).open(sealed, *PLACE) == "gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n"


def test_the_same_value_is_sealed_differently_each_time() -> None:
    assert Seal(KEY).close("value", *PLACE) != Seal(KEY).close("value", *PLACE)


@pytest.mark.parametrize(
    ("key", "place"),
    [
        (OTHER, PLACE),
        (KEY, ("team", "secret", "2")),
        (KEY, ("team", "other", "1")),
        (KEY, ("other", "secret", "1")),
        (KEY, ("teams", "ecret", "1")),
        (KEY, ()),
    ],
)
def test_it_does_not_open_elsewhere_or_with_another_key(key: bytes, place: tuple[str, ...]) -> None:
    with pytest.raises(BermError) as caught:
        Seal(key).open(Seal(KEY).close("value", *PLACE), *place)
    assert caught.value.code is Code.INTERNAL
    assert "value" not in str(caught.value).replace("sealed value", "")


def test_no_changed_byte_goes_unnoticed() -> None:
    sealed = Seal(KEY).close("v", *PLACE)
    for at in range(len(sealed)):
        changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(BermError):
            Seal(KEY).open(changed, *PLACE)
    for length in range(len(sealed)):
        with pytest.raises(BermError):
            Seal(KEY).open(sealed[:length], *PLACE)


def test_a_made_key_is_private_and_read_again(tmp_path: Path) -> None:
    made = sealing.make(tmp_path / "deep" / "key")
    assert stat.S_IMODE((tmp_path / "deep" / "key").stat().st_mode) == 0o600
    assert sealing.read(tmp_path / "deep" / "key").name == made.name
    assert sealing.make(tmp_path / "other").name != made.name


@pytest.mark.parametrize("text", ["", "short", b64encode(KEY[1:]).decode(), "\u00fc" * 44, "!" * 44])
def test_a_file_that_holds_no_key_is_refused_without_telling_what_it_holds(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text)
    with pytest.raises(WrongKeyError, match="does not hold a key") as caught:
        sealing.read(tmp_path / "key")
    assert not text or text not in str(caught.value)


def test_a_file_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    with pytest.raises(WrongKeyError, match="No such file"):
        sealing.read(tmp_path / "key")
    with pytest.raises(WrongKeyError, match="Is a directory"):
        sealing.read(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(BermError, match="cannot write"):
        sealing.make(tmp_path / "file" / "key")
