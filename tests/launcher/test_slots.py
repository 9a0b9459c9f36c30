"""The pool of warm slots, over processes that are not sandboxes: what waits here is a plain socket."""

import os
import select
import socket
from collections.abc import Iterator

import pytest

from berm.launcher import idmap, network
from berm.launcher.slots import SlotError, Slots, Warm
from tests.launcher import namespaces

pytestmark = pytest.mark.root


def warm_up(number: int) -> Warm:
    """A slot whose process is gone at once: its namespaces live on by their descriptors."""
    ours, theirs = socket.socketpair()
    theirs.close()
    return Warm(number, namespaces.fresh(0x40000000 + number * idmap.RANGE), ours)


def broken(number: int) -> Warm:
    """A slot whose network namespace is no namespace."""
    warm = warm_up(number)
    os.dup2(warm.waiting.fileno(), warm.namespaces.net)
    return warm


@pytest.fixture
def slots(plan: network.Plan) -> Iterator[Slots]:
    made = Slots(plan, 3, warm_up)
    made.hold(network.devices(plan))  # an earlier test's may still be on their way out
    yield made
    made.close()
    # The helper is the only child, and ends with its socket.
    os.wait()


def test_slots_are_made_ahead_and_numbers_go_round(slots: Slots, plan: network.Plan) -> None:
    numbers = []
    for _ in range(4):
        slots.fill()
        slots.receive()
    for _ in range(3):
        warm = slots.take(internet=True)
        numbers.append(warm.number)
        warm.close()
        slots.release(warm.number)
    assert len(set(numbers)) == 3
    assert all(plan.internet(number) for number in numbers)
    again = slots.take(internet=True)
    assert again.number not in numbers
    again.close()


def test_what_was_got_already_is_not_waited_for(slots: Slots) -> None:
    """A request that comes with the news of a slot may take that slot before the news is read."""
    slots.fill()
    select.select([slots], [], [])
    slots.take(internet=True).close()
    slots.take_in()
    slots.take_in()
    slots.take(internet=True).close()


def test_a_slot_without_internet_is_made_on_demand(slots: Slots, plan: network.Plan) -> None:
    warm = slots.take(internet=False)
    assert not plan.internet(warm.number)
    warm.close()


def test_numbers_that_are_held_are_given_to_nobody(slots: Slots, plan: network.Plan) -> None:
    last = max(set(range(1, plan.offline_from)) - network.devices(plan))
    slots.hold(set(range(1, plan.offline_from)) - {last})
    warm = slots.take(internet=True)
    assert warm.number == last
    with pytest.raises(OSError, match="no free address"):
        slots.take(internet=True)
    warm.close()


def test_what_cannot_be_begun_is_told_and_not_repeated(plan: network.Plan) -> None:
    begun = []

    def refused(number: int) -> Warm:
        begun.append(number)
        raise OSError("no more processes")

    slots = Slots(plan, 3, refused)
    with pytest.raises(SlotError, match="no more processes") as failure:
        slots.fill()
    assert failure.value.number == begun[0]
    slots.fill()
    assert len(begun) == 1
    with pytest.raises(SlotError, match="no more processes"):
        slots.take(internet=True)
    assert slots.close() == set()
    os.wait()


def test_a_failure_is_told_and_not_repeated(plan: network.Plan) -> None:
    slots = Slots(plan, 3, broken)
    with pytest.raises(SlotError, match="could not wire up"):
        slots.take(internet=True)
    slots.fill()
    assert slots.close() == set()
    os.wait()
