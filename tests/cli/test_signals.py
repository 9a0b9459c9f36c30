import signal
import threading

import pytest

from berm.cli.signals import LEAVING, aside, handling
from berm.errors import BermError, Code


def test_a_signal_runs_its_action_and_the_handler_is_put_back() -> None:
    before = signal.getsignal(signal.SIGWINCH)
    seen: list[str] = []
    with handling({signal.SIGWINCH: lambda: seen.append("resized")}):
        signal.raise_signal(signal.SIGWINCH)
    assert seen == ["resized"]
    assert signal.getsignal(signal.SIGWINCH) == before


def test_leaving_goes_through_context_managers() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as caught, handling(LEAVING):
        signal.raise_signal(signal.SIGTERM)
    assert caught.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before


def test_actions_aside_run_in_order_whatever_one_of_them_meets() -> None:
    def fail() -> None:
        raise BermError(Code.UNAVAILABLE, "gone")

    done = threading.Event()
    with aside() as later:
        later(fail)
        later(done.set)
        assert done.wait()
