from itertools import pairwise

import pytest

from berm.control.series import Series
from berm.models import Usage


def sample(number: int) -> Usage:
    return Usage(1000.0 + 5 * number, number / 2, 100 + number, 10, 1 << 40)


def filled(count: int) -> Series:
    series = Series()
    for number in range(count):
        series.add(sample(number))
    return series


def test_few_are_all_there() -> None:
    assert filled(0).samples() == []
    assert filled(100).samples() == [sample(number) for number in range(100)]


def test_of_a_day_the_last_quarter_of_an_hour_is_whole_and_the_rest_is_covered() -> None:
    count = 24 * 3600 // 5
    samples = filled(count).samples()
    assert samples[-180:] == [sample(number) for number in range(count - 180, count)]
    assert samples[0] == sample(0)
    gaps = [after.at - before.at for before, after in pairwise(samples)]
    assert all(gap > 0 for gap in gaps)
    assert max(gaps) <= 24 * 3600 / 120
    assert len(samples) <= 420


def test_it_goes_on_after_it_was_kept() -> None:
    kept = Series.from_json(filled(300).to_json())
    kept.add(sample(300))
    assert kept.samples() == filled(301).samples()


@pytest.mark.parametrize("record", [{}, {"recent": "AAAA", "life": "", "every": 1}, {"recent": "!"}])
def test_what_it_did_not_write_is_refused(record: dict[str, str | int]) -> None:
    with pytest.raises((KeyError, ValueError)):
        Series.from_json(record)
