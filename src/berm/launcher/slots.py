"""Places for sandboxes, made ahead: processes that wait, in namespaces that a helper wires up."""

import os
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NoReturn

from berm.launcher import idmap, netlink, network, spec, syscalls

_AT_ONCE: Final = 2
"""How many slots are in the making at a time: few, so that sandboxes which start now come first."""


@dataclass(frozen=True, slots=True)
class Warm:
    """A process that waits for its sandbox's spec, which is sent over `waiting`.

    The slot's number gives the addresses and the id range.
    """

    number: int
    namespaces: idmap.Namespaces
    waiting: socket.socket

    def close(self) -> None:
        """Let go of it; a process that still waits then ends."""
        self.namespaces.close()
        self.waiting.close()


class SlotError(OSError):
    """A slot that could not be made; what there is of it has to be given back."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(reason)
        self.number = number


class Slots:
    """Warm slots, with and without internet. Numbers go round, so that none is used again soon."""

    def __init__(self, plan: network.Plan, warm: int, warm_up: Callable[[int], Warm]) -> None:
        self._plan = plan
        self._warm_up = warm_up
        self._taken: set[int] = set()
        self._making: dict[int, Warm] = {}
        self._ready: dict[bool, deque[Warm]] = {True: deque(), False: deque()}
        self._wanted = {True: warm, False: max(warm // 8, 1)}
        self._next = {True: 1, False: plan.offline_from}
        self._failing = False
        self._filling: set[bool] = set()
        self._wirer = _start_wirer(plan)

    def fileno(self) -> int:
        """Readable when there is a finished slot to take in."""
        return self._wirer.fileno()

    def fill(self) -> None:
        """Begin to make what is missing; after a failure, only once a sandbox has asked for one.

        Raises SlotError when one could not even be begun.

        It begins when half is gone and ends when all is there: a sandbox that starts meanwhile waits for
        a processor, so it is better to disturb few of them much than all of them a little.
        """
        if self._failing:
            return
        for internet, wanted in self._wanted.items():
            there = len(self._ready[internet])
            if there >= wanted:
                self._filling.discard(internet)
            elif there <= wanted // 2:
                self._filling.add(internet)
            if internet in self._filling and len(self._making) < _AT_ONCE:
                self._make(internet)

    def _make(self, internet: bool) -> None:
        number = self._free_number(internet)
        self._taken.add(number)
        try:
            warm = self._making[number] = self._warm_up(number)
        except OSError as failure:
            self._failing = True
            raise SlotError(number, str(failure)) from failure
        spec.send(self._wirer, {"slot": number}, (warm.namespaces.net,))

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

    def take_in(self) -> None:
        """`receive` without waiting: `take` may have got meanwhile what made this one readable."""
        with suppress(BlockingIOError):
            self._receive(socket.MSG_DONTWAIT)

    def receive(self) -> None:
        """Wait for a slot that has been wired up, and take it in.

        Raises SlotError when it could not be, EOFError when nothing wires them up any more.
        """
        self._receive()

    def _receive(self, flags: int = 0) -> None:
        packet = spec.receive(self._wirer, flags)
        if packet is None:
            raise EOFError("the process that wires up sandboxes has ended")
        message = packet[0]
        warm = self._making.pop(message["slot"])
        self._failing = "error" in message
        if self._failing:
            warm.close()
            raise SlotError(warm.number, message["error"])
        self._ready[self._plan.internet(warm.number)].append(warm)

    def take(self, internet: bool) -> Warm:
        """A warm slot, at once where one is ready. Raises like `receive`, OSError when no number is free."""
        queue = self._ready[internet]
        while not queue:
            if not any(self._plan.internet(number) is internet for number in self._making):
                self._make(internet)
            self.receive()
        return queue.popleft()

    def close(self) -> set[int]:
        """End the helper and every process that waits; returns the numbers of their slots."""
        self._wirer.close()
        waiting = (*self._ready[True], *self._ready[False], *self._making.values())
        for warm in waiting:
            warm.close()
        return {warm.number for warm in waiting}

    def hold(self, numbers: set[int]) -> None:
        """Give these numbers to nobody until they are released."""
        self._taken |= numbers

    def release(self, number: int) -> None:
        self._taken.discard(number)


def _start_wirer(plan: network.Plan) -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        ours.close()
        _wire(plan, theirs)
    theirs.close()
    return ours


def _wire(plan: network.Plan, orders: socket.socket) -> NoReturn:
    syscalls.set_process_name("berm-network")
    host, home = netlink.Netlink(), network.open_namespace()
    with suppress(BrokenPipeError):  # the launcher has ended, and wants none any more
        while packet := spec.receive(orders):
            number, (namespace,) = packet[0]["slot"], packet[1]
            answer = {"slot": number}
            try:
                network.wire(plan, number, namespace, host, home)
            except OSError as failure:
                answer |= {"error": f"could not wire up a sandbox: {failure}"}
            os.close(namespace)
            spec.send(orders, answer)
    os._exit(0)
