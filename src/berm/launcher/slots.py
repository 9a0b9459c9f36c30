"""Places for sandboxes, made ahead: a helper process makes the namespaces, then a process waits in each."""

import os
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from berm.launcher import idmap, netlink, network, spec, syscalls


@dataclass(frozen=True, slots=True)
class Slot:
    """One sandbox's place: its number gives the addresses and the id range, the namespaces are wired up."""

    number: int
    namespaces: idmap.Namespaces


@dataclass(frozen=True, slots=True)
class Warm:
    """A process that waits in a slot for its sandbox's spec, which is sent over `waiting`."""

    number: int
    user_namespace: int
    waiting: socket.socket

    def close(self) -> None:
        """Let go of it; a process that still waits then ends."""
        os.close(self.user_namespace)
        self.waiting.close()


class Slots:
    """Warm slots, with and without internet. Numbers go round, so that none is used again soon."""

    def __init__(self, plan: network.Plan, warm: int, warm_up: Callable[[Slot], Warm]) -> None:
        self._plan = plan
        self._taken: set[int] = set()
        self._warm_up = warm_up
        self._ready: dict[bool, deque[Warm]] = {True: deque(), False: deque()}
        self._wanted = {True: warm, False: max(warm // 8, 1)}
        self._ordered = {True: 0, False: 0}
        self._next = {True: 1, False: plan.offline_from}
        self._maker = _start_maker(plan)

    def fileno(self) -> int:
        """Readable when `receive` has a finished slot to take in."""
        return self._maker.fileno()

    def fill(self) -> None:
        """Order as many slots as are missing."""
        for internet, wanted in self._wanted.items():
            while len(self._ready[internet]) + self._ordered[internet] < wanted:
                self._order(internet)

    def _order(self, internet: bool) -> None:
        number = self._free_number(internet)
        self._taken.add(number)
        self._ordered[internet] += 1
        spec.send(self._maker, {"slot": number})

    def _free_number(self, internet: bool) -> int:
        first, last = (
            (1, self._plan.offline_from) if internet else (self._plan.offline_from, self._plan.slots)
        )
        for step in range(last - first):
            number = first + (self._next[internet] - first + step) % (last - first)
            if number not in self._taken:
                self._next[internet] = number + 1
                return number
        raise OSError(f"no free address left in {self._plan.subnet}")

    def receive(self) -> None:
        """Take in one slot from the maker and warm it up; raises OSError when it could not be made."""
        packet = spec.receive(self._maker)
        if packet is None:
            raise OSError("the process that makes namespaces has ended")
        message, fds = packet
        number = message["slot"]
        internet = self._plan.internet(number)
        self._ordered[internet] -= 1
        if "error" in message:
            self._taken.discard(number)
            raise OSError(message["error"])
        self._ready[internet].append(self._warm_up(Slot(number, idmap.Namespaces(*fds))))

    def take(self, internet: bool) -> Warm:
        """A warm slot, at once where one is ready. Raises OSError when none can be made."""
        queue = self._ready[internet]
        if not queue and not self._ordered[internet]:
            self._order(internet)
        while not queue:
            self.receive()
        return queue.popleft()

    def close(self) -> set[int]:
        """End the maker and every process that waits; returns the numbers of their slots."""
        self._maker.close()
        waiting = (*self._ready[True], *self._ready[False])
        for warm in waiting:
            warm.close()
        return {warm.number for warm in waiting}

    def hold(self, numbers: set[int]) -> None:
        """Give these numbers to nobody until they are released."""
        self._taken |= numbers

    def release(self, number: int) -> None:
        self._taken.discard(number)


def _start_maker(plan: network.Plan) -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        ours.close()
        _make_slots(plan, theirs)
    theirs.close()
    return ours


def _make_slots(plan: network.Plan, orders: socket.socket) -> NoReturn:
    syscalls.set_process_name("berm-slots")
    host, home = netlink.Netlink(), network.open_namespace()
    while packet := spec.receive(orders):
        number = packet[0]["slot"]
        try:
            namespaces = idmap.make_namespaces(plan.first_id(number))
            try:
                network.wire(plan, number, namespaces, host, home)
                spec.send(orders, {"slot": number}, (namespaces.user, namespaces.net))
            finally:
                namespaces.close()
        except OSError as failure:
            spec.send(orders, {"slot": number, "error": f"could not make namespaces: {failure}"})
    os._exit(0)
