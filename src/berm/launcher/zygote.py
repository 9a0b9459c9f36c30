"""The warm process: takes requests on a unix socket, forks sandboxes, frees what they leave behind."""

import errno
import os
import re
import selectors
import signal
import socket
import struct
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from berm.launcher import enter, idmap, network, privileges, seccomp, sources, spec, syscalls
from berm.launcher.cgroup import Cgroups, init_process
from berm.launcher.firewall import Firewall
from berm.launcher.policy import Policy
from berm.launcher.pool import Pool
from berm.launcher.slots import SlotError, Slots, Warm

_SANDBOX_ID: Final = re.compile(r"[a-z0-9]{1,32}")
_PAGE: Final = 1000
Reply = tuple[dict[str, Any], tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Host:
    """What an instance has of the host."""

    plan: network.Plan
    pool: Pool
    cgroups: Cgroups
    firewall: Firewall


class Launcher:
    """One instance's sandboxes: what each request does. All state is in the kernel or in the pool."""

    def __init__(self, host: Host, nameservers: tuple[str, ...], warm: int) -> None:
        self._plan = host.plan
        self._pool = host.pool
        self._cgroups = host.cgroups
        self._firewall = host.firewall
        self._common = enter.Common(nameservers, seccomp.compile_filter(), privileges.last_capability())
        self._dying: set[int] = set()
        self.ended = False
        self.slots = Slots(host.plan, warm, self._warm_up)
        self._operations: dict[str, Callable[..., Reply]] = {
            "create": self.create,
            "list": self.list,
            "adopt": self.adopt,
            "kill": self.kill,
            "free": self.free,
            "freeze": self.freeze,
            "mark": self.mark,
            "pause": self.pause,
            "resume": self.resume,
            "shelved": self.shelved,
            "keep": self.keep,
            "police": self.police,
            "tear_down": self.tear_down,
        }
        self._sweep()

    def _sweep(self) -> None:
        """Find the slots that sandboxes of an earlier launcher hold, and free what it had made ahead."""
        held = {slot for name in self._pool.names() if (slot := self._pool.slot(name)) is not None}
        spare = {int(name) for name in self._cgroups.names()} | self._pool.spare()
        devices = network.devices(self._plan)
        self.slots.hold(held | spare | devices)
        for number in self._firewall.policed() - held - spare - devices:
            self._firewall.release(number)
        for number in spare - held:
            self._give_back(number)

    def answer(self, message: dict[str, Any], fds: list[int]) -> Reply:
        """Carry out one request; what goes wrong becomes an `error` in the reply."""
        try:
            operation = self._operations[message.pop("op")]
            return operation(*fds, **message)
        except Exception as failure:
            if not isinstance(failure, OSError):
                traceback.print_exc()
            number = failure.errno if isinstance(failure, OSError) else None
            return {"error": str(failure) or repr(failure), "errno": number}, ()

    def _warm_up(self, number: int) -> Warm:
        """Make all that one more sandbox needs and no spec changes, and the process that waits for that."""
        self._cgroups.make(str(number))
        self._pool.make(number)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = self._cgroups.clone_into(str(number), enter.NAMESPACES)
        if pid == 0:
            enter.wait(self._common, theirs)
        theirs.close()
        privileges.put_first(pid)
        idmap.map_ids(pid, self._plan.first_id(number))
        enter.mapped(ours)
        return Warm(number, idmap.Namespaces.of(pid), ours)

    def create(self, control: int, config: int, **fields: Any) -> Reply:
        """Start a sandbox. Its process 1, and whether it came up, are told on the control socket."""
        launch = spec.LaunchSpec.from_wire(fields)
        _check(launch.sandbox_id)
        if launch.generation:
            self._check_generation(launch.sandbox_id, launch.generation)
        places = sources.of(launch)
        warm = self._take(launch.internet)
        try:
            self._give(launch, places, warm, control, config)
        except OSError:
            self._pool.put_away(launch.sandbox_id)
            self._give_back(warm.number)
            raise
        finally:
            warm.close()
        return self._addresses(warm.number), ()

    def _addresses(self, slot: int) -> dict[str, Any]:
        return {"address": self._plan.address(slot), "gateway": self._plan.host_address(slot)}

    def _take(self, internet: bool) -> Warm:
        try:
            return self.slots.take(internet)
        except SlotError as failure:
            self._give_back(failure.number)
            raise

    def take_in(self) -> None:
        """A slot is finished, or has failed: that is told to the next who wants one, and to the log."""
        self._noting_failure(self.slots.take_in)

    def fill(self) -> None:
        """Begin to make the slots that are missing."""
        self._noting_failure(self.slots.fill)

    def _noting_failure(self, action: Callable[[], None]) -> None:
        try:
            action()
        except SlotError as failure:
            self._give_back(failure.number)
            traceback.print_exc()

    def _give(
        self, launch: spec.LaunchSpec, places: Sequence[str], warm: Warm, control: int, config: int
    ) -> None:
        if launch.policy is not None:
            self._firewall.police(warm.number, launch.policy)
        directory = self._pool.claim(warm.number, launch.sandbox_id, launch.disk_mb)
        self._cgroups.limit(str(warm.number), launch)
        layers = tuple(places.index(sources.layer(name)) for name in launch.layers)
        mounts = tuple(sources.numbered(mount, places) for mount in launch.mounts)
        message = enter.Message(max(launch.memory_mb // 2, 1), layers, mounts)
        with ExitStack() as given:
            log = os.open(directory / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            given.callback(os.close, log)
            trees = []
            for path in (directory / "rw", *(self._pool.root / place for place in places)):
                trees.append(idmap.mapped_tree(str(path), warm.namespaces.user))
                given.callback(os.close, trees[-1])
            enter.Given(message, control, config, log, trees[0], tuple(trees[1:])).send(warm.waiting)

    def list(self, after: str = "") -> Reply:
        """Ids of the sandboxes that hold anything, living or not: those that come first after one of them.

        There are no more when the reply has none.
        """
        return {"sandboxes": _page(self._pool.names(), after)}, ()

    def adopt(self, sandbox_id: str) -> Reply:
        """A living sandbox's address and process 1 as a descriptor; an empty reply if it has no process.

        `generation` is None if it is not paused: then it runs from now on, whoever stopped it.
        """
        slot = self._pool.slot(sandbox_id)
        pid = init_process(self._cgroups.processes(str(slot)))
        if pid is None or slot is None:
            return {}, ()
        generation = self._pool.generation(sandbox_id)
        if generation is None:
            self._cgroups.freeze(str(slot), False)
        return {**self._addresses(slot), "generation": generation}, (os.pidfd_open(pid),)

    def kill(self, process: int, sandbox_id: str) -> Reply:
        """Kill a sandbox by its process 1; the kernel then ends all that runs in it (pid_namespaces(7))."""
        try:
            signal.pidfd_send_signal(process, signal.SIGKILL)
        except ProcessLookupError:
            return {"killed": False}, ()
        # With control groups of version 1 what is frozen does not even die.
        if (slot := self._pool.slot(sandbox_id)) is not None:
            self._cgroups.freeze(str(slot), False)
        return {"killed": True}, ()

    def freeze(self, sandbox_id: str, frozen: bool) -> Reply:
        """Stop a sandbox's processes, or let them go on, not paused; whether they all have stopped by now."""
        if not frozen:
            self._pool.unmark(sandbox_id)
        return {"frozen": self._cgroups.freeze(self._group(sandbox_id), frozen)}, ()

    def pause(self, sandbox_id: str, generation: int) -> Reply:
        """Stop a sandbox, and keep its files from now on even if its processes end.

        It is paused once the reply says `frozen`; until then ask again, or `freeze` it with False.
        """
        frozen = self._cgroups.freeze(self._group(sandbox_id), True)
        if frozen:
            self._pool.mark(sandbox_id, generation)
        return {"frozen": frozen}, ()

    def mark(self, sandbox_id: str, generation: int) -> Reply:
        """Keep the files of a sandbox, should its processes end, as those of this pause."""
        self._group(sandbox_id)
        self._pool.mark(sandbox_id, generation)
        return {}, ()

    def resume(self, sandbox_id: str, generation: int) -> Reply:
        """Let a paused sandbox go on. Raises OSError ESTALE if it was paused another number of times."""
        group = self._group(sandbox_id)
        self._check_generation(sandbox_id, generation)
        self._pool.unmark(sandbox_id)
        self._cgroups.freeze(group, False)
        return {}, ()

    def police(self, sandbox_id: str, policy: dict[str, Any]) -> Reply:
        """Give a sandbox these rules for what it may reach, in place of those it had."""
        _check(sandbox_id)
        slot = self._pool.slot(sandbox_id)
        if slot is None:
            raise OSError(f"there is no sandbox {sandbox_id}")
        self._firewall.police(slot, Policy.from_wire(policy))
        return {}, ()

    def _group(self, sandbox_id: str) -> str:
        _check(sandbox_id)
        slot = self._pool.slot(sandbox_id)
        if slot is None:
            raise OSError(errno.ESRCH, f"{sandbox_id} has no processes")
        return str(slot)

    def _check_generation(self, sandbox_id: str, generation: int) -> None:
        found = self._pool.generation(sandbox_id)
        if found != generation:
            was = "not paused" if found is None else f"paused for the {found}. time"
            raise OSError(errno.ESTALE, f"{sandbox_id} is {was} here, and was paused {generation} times")

    def shelved(self, after: str = "") -> Reply:
        """The paused sandboxes whose processes have ended, with their generations; see `list` for `after`."""
        names = _page(self._pool.put_away_names(), after)
        return {"shelved": {name: self._pool.generation(name) or 0 for name in names}}, ()

    def free(self, sandbox_id: str, for_good: bool = False) -> Reply:
        """Free all that an ended sandbox held, and its files unless it is paused. Safe to call again.

        With `for_good` the files of a paused one go as well. `generation` is that of the files that stay.
        """
        _check(sandbox_id)
        if for_good:
            self._pool.unmark(sandbox_id)
        slot = self._pool.slot(sandbox_id)
        self._pool.put_away(sandbox_id)
        if slot is not None:
            self._give_back(slot)
        return {"generation": self._pool.generation(sandbox_id)}, ()

    def keep(self, sandbox_id: str, layer: str) -> Reply:
        """Make what an ended sandbox wrote a template layer, and free all else that it held."""
        _check(sandbox_id)
        sources.check(layer)
        slot = self._pool.slot(sandbox_id)
        self._pool.keep(sandbox_id, layer)
        if slot is not None:
            self._give_back(slot)
        return {}, ()

    def _give_back(self, number: int) -> None:
        """Free a slot's control group and spare storage; its number is free when its processes are gone."""
        self._pool.discard(number)
        if self._cgroups.remove(str(number)):
            # Not before: until its last process is gone a sandbox may send.
            self._firewall.release(number)
            self._dying.discard(number)
            self.slots.release(number)
        else:
            self._dying.add(number)

    def tear_down(self) -> Reply:
        """Give back all that the host lent, and end. Raises OSError while there are sandboxes."""
        if names := self._pool.names():
            raise OSError(f"{len(names)} sandboxes are still there")
        numbers = self.slots.close() | self._dying
        _wait_for_children()
        for number in numbers:
            self._give_back_at_last(number)
        self._cgroups.tear_down()
        self._firewall.tear_down()
        self._pool.close()
        self.ended = True
        return {}, ()

    def _give_back_at_last(self, number: int) -> None:
        """On a full disk not even storage can be removed; what is left of it the next launcher sweeps."""
        try:
            self._give_back(number)
        except OSError:
            traceback.print_exc()

    def reap(self) -> None:
        """Collect dead children, then the control groups that waited for them."""
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass
        for number in tuple(self._dying):
            self._give_back(number)


def _page(names: set[str], after: str) -> list[str]:
    """As many as one packet has room for."""
    return sorted(name for name in names if name > after)[:_PAGE]


def _wait_for_children() -> None:
    try:
        while True:
            os.wait()
    except ChildProcessError:
        return


def _check(sandbox_id: str) -> None:
    if not _SANDBOX_ID.fullmatch(sandbox_id):
        raise ValueError(f"{sandbox_id!r} is not an id that the launcher takes")


def serve(launcher: Launcher, path: Path, listening: Callable[[], None]) -> None:
    """Answer requests until told to end by SIGTERM; sandboxes go on without a launcher."""
    loop = _Loop(launcher)
    with _listener(path) as listener:
        loop.watch(listener.fileno(), lambda: loop.accept(listener))
        loop.watch(launcher.slots.fileno(), launcher.take_in)
        listening()
        loop.run()


def _listener(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(16)
    return listener


class _Loop:
    """Waits on everything at once: one thread, so that a fork always copies a whole process."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._selector = selectors.DefaultSelector()
        # Sandboxes whose first parent has gone become this process's own children.
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
        self._wake_up()

    def watch(self, fd: int, action: Callable[[], None]) -> None:
        self._selector.register(fd, selectors.EVENT_READ, action)

    def run(self) -> None:
        while not self._launcher.ended:
            self._launcher.fill()
            for key, _ in self._selector.select():
                if not self._launcher.ended:
                    key.data()

    def _wake_up(self) -> None:
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        self.watch(reader, lambda: self._signalled(os.read(reader, 4096)))

    def _signalled(self, numbers: bytes) -> None:
        self._launcher.ended |= signal.SIGTERM in numbers
        self._launcher.reap()

    def accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        _, uid, _ = struct.unpack("iii", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid not in (0, os.geteuid()):
            connection.close()
            return
        self.watch(connection.fileno(), lambda: self._serve(connection))

    def _serve(self, connection: socket.socket) -> None:
        try:
            packet = spec.receive(connection)
            if packet is not None:
                self._answer(connection, *packet)
                return
        except OSError:
            pass  # the caller is gone; so is its connection
        self._selector.unregister(connection)
        connection.close()

    def _answer(self, connection: socket.socket, message: dict[str, Any], fds: list[int]) -> None:
        number = message.pop("number")
        try:
            reply, given = self._launcher.answer(message, fds)
        finally:
            for fd in fds:
                os.close(fd)
        try:
            spec.send(connection, {**reply, "number": number}, given)
        finally:
            for fd in given:
                os.close(fd)
