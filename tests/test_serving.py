"""What the other tests stand on fails where it cannot be made, and does not wait for it."""

import pytest

from berm.control.control import Control
from tests import serving
from tests.conftest import Serve
from tests.fakes import FakeNode


class BrokenError(Exception):
    pass


def test_an_app_that_cannot_be_made(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object) -> None:
        raise BrokenError

    monkeypatch.setattr(serving, "create_app", broken)
    with pytest.raises(BrokenError):
        serve(FakeNode())


def test_a_control_plane_that_does_not_start(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_control: Control) -> None:
        raise BrokenError

    monkeypatch.setattr(Control, "start", broken)
    with pytest.raises(BrokenError):
        serve(FakeNode())
