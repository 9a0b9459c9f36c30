import pytest

from berm.agent.errors import AgentError, Kind
from berm.agent.fanout import HIGH_WATER, LAG_LIMIT, Fanout, Mailbox

IDLE = 60.0


async def read(mailbox: Mailbox[str]) -> list[str | None]:
    return [item async for item in mailbox.drain(IDLE)]


async def test_everyone_gets_everything_in_order() -> None:
    fanout = Fanout[str](lambda: None)
    first, second = fanout.attach(), fanout.attach()
    fanout.publish("a", 1)
    fanout.publish("b", 1)
    fanout.close()
    fanout.publish("late", 1)
    assert await read(first) == await read(second) == ["a", "b"]


def test_nobody_reading_leaves_room() -> None:
    fanout = Fanout[str](lambda: None)
    for _ in range(100):
        fanout.publish("x", HIGH_WATER)
    assert fanout.has_room


async def test_one_reader_holds_back() -> None:
    rooms: list[bool] = []
    fanout = Fanout[str](lambda: rooms.append(fanout.has_room))
    mailbox = fanout.attach()
    fanout.publish("x", HIGH_WATER)
    assert not fanout.has_room
    fanout.close()
    await read(mailbox)
    assert rooms[-1]


def test_the_fastest_sets_the_pace() -> None:
    fanout = Fanout[str](lambda: None)
    slow, fast = fanout.attach(), fanout.attach()
    fanout.publish("x", HIGH_WATER)
    fast.take()
    assert fanout.has_room
    fanout.detach(fast)
    assert not fanout.has_room
    fanout.detach(slow)
    assert fanout.has_room


async def test_the_slowest_is_cut_off() -> None:
    fanout = Fanout[str](lambda: None)
    slow, fast = fanout.attach(), fanout.attach()
    fanout.publish("x", LAG_LIMIT)
    fast.take()
    fanout.publish("y", 1)
    assert slow.size == 0
    with pytest.raises(AgentError, match="too far behind"):
        await read(slow)
    fanout.close()
    assert await read(fast) == ["y"]


async def test_idle_is_told() -> None:
    mailbox = Mailbox[str]()
    items = mailbox.drain(0.01)
    assert await anext(items) is None
    mailbox.put("x")
    assert await anext(items) == "x"
    mailbox.close()
    assert [item async for item in items] == []


async def test_cutting_drops_what_is_queued() -> None:
    mailbox = Mailbox[str]()
    mailbox.put("x")
    mailbox.cut(AgentError(Kind.TIMED_OUT, "over"))
    with pytest.raises(AgentError, match="over"):
        await read(mailbox)
