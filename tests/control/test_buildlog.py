from collections.abc import Awaitable, Callable

import pytest

from berm.control import buildlog
from berm.store.builds import BuildLine

Write = Callable[[list[BuildLine]], Awaitable[None]]


def into(written: list[BuildLine]) -> Write:
    async def write(lines: list[BuildLine]) -> None:
        written.extend(lines)

    return write


async def test_all_lines_are_written_in_order_when_the_block_has_ended() -> None:
    written: list[BuildLine] = []

    async with buildlog.writing(into(written)) as log:
        for number in range(2500):
            log.put(str(number), "1")

    assert [line.message for line in written] == [str(number) for number in range(2500)]
    assert {line.step for line in written} == {"1"}


async def test_they_are_written_when_the_block_fails() -> None:
    written: list[BuildLine] = []

    with pytest.raises(RuntimeError):
        async with buildlog.writing(into(written)) as log:
            log.put("before it failed")
            raise RuntimeError

    assert [line.message for line in written] == ["before it failed"]


SECRETS = (
    ("hunter22", "the password is hunter22!", "the password is ***!"),
    ("hunter22\n", "hunter22hunter22", "******"),
    ("first line\nsecond line", "a second line", "a ***"),
    ("abcd\nabcdefgh", "abcdefgh", "***"),
    ("abc", "abc", "abc"),
)


@pytest.mark.parametrize(("secret", "line", "shown"), SECRETS)
async def test_no_line_shows_a_secret(secret: str, line: str, shown: str) -> None:
    written: list[BuildLine] = []

    async with buildlog.writing(into(written), [secret.encode()]) as log:
        log.step("1")(line)

    assert [line.message for line in written] == [shown]


async def test_the_log_of_one_build_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buildlog, "LINES", 3)
    written: list[BuildLine] = []

    async with buildlog.writing(into(written)) as log:
        for number in range(10):
            log.put(str(number))

    assert [line.message for line in written] == ["0", "1", "2", "the log ends here: it has 3 lines"]
