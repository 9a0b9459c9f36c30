"""From the launcher into a sandbox, in two halves: wait for a spec, then become the sandbox.

Whoever asked for the sandbox listens on the control socket: first comes the descriptor of process 1,
then `ready` from the agent, or the step that failed. The steps need no cleaning up: all they make
belongs to namespaces that end with the process.
"""

import os
import signal
import socket
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final, NoReturn

from berm.agent import server as agent
from berm.launcher import mounts, privileges, rootfs, spec, syscalls

AGENT_PORT: Final = 49983
HOSTNAME: Final = "sandbox"
"""The same in all, so that a template's /etc/hosts is right already and no start has to write it."""
NAMESPACES: Final = (
    syscalls.CLONE_NEWUSER
    | syscalls.CLONE_NEWNS
    | syscalls.CLONE_NEWPID
    | syscalls.CLONE_NEWIPC
    | syscalls.CLONE_NEWUTS
    | syscalls.CLONE_NEWNET
)
"""What a waiting process is made in."""


@dataclass(frozen=True, slots=True)
class Common:
    """What is the same for every sandbox of a launcher."""

    nameservers: tuple[str, ...]
    filter: bytes
    last_capability: int


@dataclass(frozen=True, slots=True)
class Message:
    """What a waiting process is told; its layers, and what its mounts are of, index `Given.trees`."""

    shm_mb: int
    layers: tuple[int, ...]
    mounts: tuple[spec.MountSpec, ...]

    @classmethod
    def from_wire(cls, message: dict[str, Any]) -> "Message":
        mounts = tuple(map(spec.MountSpec.from_wire, message["mounts"]))
        return cls(message["shm_mb"], tuple(message["layers"]), mounts)


@dataclass(frozen=True, slots=True)
class Given:
    """What a waiting process is given to become a sandbox; all but the first are descriptors."""

    message: Message
    control: int
    config: int
    log: int
    writable: int
    trees: tuple[int, ...]

    def send(self, waiting: socket.socket) -> None:
        fds = (self.control, self.config, self.log, self.writable, *self.trees)
        spec.send(waiting, asdict(self.message), fds)

    @classmethod
    def receive(cls, waiting: socket.socket) -> "Given | None":
        packet = spec.receive(waiting)
        if packet is None:
            return None
        message, (control, config, log, writable, *trees) = packet
        return cls(Message.from_wire(message), control, config, log, writable, tuple(trees))


def mapped(waiting: socket.socket) -> None:
    """Tell a process in `wait` that its ids are mapped."""
    spec.send(waiting, {})


def wait(common: Common, waiting: socket.socket) -> NoReturn:
    """Prepare all that no spec changes, then wait for one; called in the new namespaces, never returns.

    Ends quietly when the launcher closes its end. A failure before that goes to the launcher's log.
    """
    try:
        _leave_launcher(waiting.fileno())
        if spec.receive(waiting) is not None:
            _take_over_namespaces()
            privileges.bound(common.last_capability)
            rootfs.prepare()
            prepared = agent.Agent(_listen())
            given = Given.receive(waiting)
            if given is not None:
                waiting.close()
                _become(common, given, prepared)
    except BaseException:  # whatever it is, nobody else would tell
        traceback.print_exc()
    finally:
        os._exit(1)


def _leave_launcher(waiting: int) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    privileges.keep_priority()
    syscalls.join_new_session_keyring()
    os.umask(0o022)
    _keep_only(waiting)
    syscalls.set_process_name("berm-agent")


def _keep_only(*fds: int) -> None:
    lower = 3
    for fd in sorted(fds):
        os.closerange(lower, fd)
        lower = fd + 1
    os.closerange(lower, os.sysconf("SC_OPEN_MAX"))


def _take_over_namespaces() -> None:
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    # Not with the others: its root is the group that the process is in when it is made.
    syscalls.unshare(syscalls.CLONE_NEWCGROUP)


def _listen() -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("0.0.0.0", AGENT_PORT))  # noqa: S104 - every address of the sandbox, and no other
    listener.listen(128)
    return listener


def _become(common: Common, given: Given, prepared: agent.Agent) -> None:
    """Be the sandbox's process 1; returns only when that failed, and its caller knows why."""
    control, message = socket.socket(fileno=given.control), given.message
    try:
        _introduce(control)
        os.dup2(given.log, 1)
        os.dup2(given.log, 2)
        os.close(given.log)
        with _step("put the root together"):
            trees = rootfs.attach(given.trees, given.writable)
            rootfs.assemble([trees[index] for index in message.layers], message.shm_mb)
        contents = mounts.open_all(message.mounts, trees)
        with _step("enter the root"):
            rootfs.enter()
            _name_host(common.nameservers)
        mounts.attach(message.mounts, contents)
        config = _read_config(given.config)
        with _step("give up privileges"):
            privileges.drop(common.filter)
        prepared.run(config, lambda: _ready(control))
    except BaseException as failure:  # whatever it is, the caller must hear of it
        refused = isinstance(failure, mounts.MountError)
        spec.send(control, {"error": str(failure) or repr(failure), "refused": refused})


@contextmanager
def _step(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as failure:
        raise OSError(failure.errno, f"could not {name}: {failure}") from failure


def _introduce(control: socket.socket) -> None:
    """Give the caller this process as a descriptor, which means the same in every namespace."""
    own = os.pidfd_open(os.getpid())
    spec.send(control, {}, (own,))
    os.close(own)


def _name_host(nameservers: tuple[str, ...]) -> None:
    syscalls.sethostname(HOSTNAME)
    rootfs.write_files(
        {
            "hostname": f"{HOSTNAME}\n",
            "hosts": f"127.0.0.1 localhost {HOSTNAME}\n::1 localhost ip6-localhost ip6-loopback\n",
            "resolv.conf": "".join(f"nameserver {server}\n" for server in nameservers),
        }
    )


def _read_config(fd: int) -> agent.AgentConfig:
    with open(fd, "rb") as file:
        return agent.AgentConfig.from_json(file.read())


def _ready(control: socket.socket) -> None:
    with control:
        spec.send(control, {"ready": True})
