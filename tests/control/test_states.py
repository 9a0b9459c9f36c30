from datetime import UTC, datetime, timedelta

import pytest

from berm.control.states import lifetime, seconds_until
from berm.errors import BermError, Code

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("seconds", [0, 1, 60])
def test_a_lifetime_within_the_limit(seconds: int) -> None:
    assert lifetime(seconds, 60) == timedelta(seconds=seconds)


@pytest.mark.parametrize("seconds", [-1, 61, 10**30])
def test_a_lifetime_out_of_range_names_the_value_and_the_limit(seconds: int) -> None:
    with pytest.raises(BermError, match=f"timeout is {seconds}, which is not between 0 and 60") as caught:
        lifetime(seconds, 60)
    assert caught.value.code is Code.INVALID_ARGUMENT


def test_seconds_until_are_never_negative() -> None:
    assert seconds_until(NOON + timedelta(seconds=1.5), NOON) == 1.5
    assert seconds_until(NOON - timedelta(seconds=1), NOON) == 0
    assert seconds_until(None, NOON) is None
