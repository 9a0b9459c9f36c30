"""What code in a sandbox, even as root, cannot see or do. Every escape we could think of is a row here."""

from collections.abc import Callable
from pathlib import Path

import pytest
from e2b import CommandExitException, Sandbox

from tests.instance import Instance

PYTHON_CALL = """python3 - <<'END'
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
result = libc.syscall({arguments})
print("errno", ctypes.get_errno() if result < 0 else 0)
END"""


def root(sandbox: Sandbox, command: str) -> str:
    return str(sandbox.commands.run(command, user="root").stdout).strip()


def refused(sandbox: Sandbox, command: str) -> str:
    """Run as root what must fail; returns what it said."""
    with pytest.raises(CommandExitException) as failure:
        sandbox.commands.run(command, user="root")
    return str(failure.value.stderr)


def test_it_has_ids_processes_and_names_of_its_own(sandbox: Sandbox) -> None:
    assert root(sandbox, "cat /proc/1/comm") == "berm-agent"
    assert root(sandbox, "hostname") == "sandbox"
    assert root(sandbox, "cut -d' ' -f3- /proc/self/uid_map | tr -d ' '").endswith("65536")
    assert int(root(sandbox, "ls -d /proc/[0-9]* | wc -l")) < 12
    assert root(sandbox, "ls /sys/class/net").split() == ["eth0", "lo"]
    assert root(sandbox, "ipcs -m | grep -c 0x || true") == "0"


def test_root_has_few_capabilities(sandbox: Sandbox) -> None:
    assert root(sandbox, "grep CapBnd /proc/self/status").split()[1] == "00000000a80425fb"
    assert root(sandbox, "grep CapEff /proc/1/status").split()[1] == "00000000a80425fb"
    assert root(sandbox, "grep 'Seccomp:' /proc/1/status").split()[1] == "2"


@pytest.mark.parametrize(
    "command",
    [
        "mount -t tmpfs none /mnt",
        "mount --bind / /mnt",
        "umount /proc/sys",
        "unshare --user true",
        "unshare --mount true",
        "unshare --net true",
        "nsenter --target 1 --mount true",
        "chroot /proc/1/root mount -t proc none /mnt",
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
        "echo x > /proc/sys/kernel/core_pattern",
        "echo b > /proc/sysrq-trigger",
        "echo +1 > /sys/kernel/mm/ksm/run",
        "mknod /tmp/disk b 254 0 && cat /tmp/disk",
        "ip link set eth0 down",
        "ip address add 10.0.0.1/8 dev eth0",
        "dmesg",
        "hostname other",
        "date -s 2000-01-01",
        "swapoff -a && swapon /dev/zero",
        "modprobe dummy",
        "cat /proc/kcore | head -c 1 | grep .",
        "ls /proc/1/root/../../../var/lib/berm",
        "renice -n -20 -p 1 && false",
        "kill -9 1 && false",
    ],
)
def test_root_is_refused(sandbox: Sandbox, command: str) -> None:
    refused(sandbox, command)
    assert root(sandbox, "echo alive") == "alive"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("bpf", "321, 5, 0, 0"),
        ("io_uring_setup", "425, 1, 0"),
        ("keyctl", "250, 0, -3, 1"),
        ("open_by_handle_at", "304, -100, 0, 0"),
        ("perf_event_open", "298, 0, 0, -1, -1, 0"),
        ("userfaultfd", "323, 0"),
        ("fsopen", "430, b'ext4', 0"),
        ("pivot_root", "155, b'/', b'/'"),
        ("setns", "308, os.open('/proc/self/ns/net', 0), 0"),
        ("kexec_load", "246, 0, 0, 0, 0"),
        ("init_module", "175, 0, 0, b''"),
        ("clone3", "435, 0, 0"),
    ],
)
def test_a_system_call_is_refused(sandbox: Sandbox, name: str, arguments: str) -> None:
    assert root(sandbox, PYTHON_CALL.format(arguments=arguments)) in ("errno 1", "errno 38"), name


def test_the_hosts_files_are_nowhere(sandbox: Sandbox, berm: Instance) -> None:
    marker = berm.home / "host-secret"
    marker.write_text("secret")
    try:
        found = root(sandbox, "find / -xdev -name host-secret 2>/dev/null; cat /proc/1/mountinfo")
        assert "host-secret" not in found
        assert str(berm.home) not in found
    finally:
        marker.unlink()


@pytest.mark.parametrize("file", ["mem", "maps", "environ", "fd/", "ns/net", "root/", "cwd/", "exe"])
def test_the_agent_is_closed_even_to_root(sandbox: Sandbox, file: str) -> None:
    assert "denied" in refused(sandbox, f"cat /proc/1/{file} > /dev/null; ls /proc/1/{file}; exit 1")


def test_the_launcher_holds_no_secret(sandbox: Sandbox, berm: Instance) -> None:
    """A sandbox is forked from it: it must know neither the keys nor another sandbox's settings."""
    other = Sandbox.create(envs={"TOKEN": "of-the-other-sandbox"}, metadata={"m": "of-the-other-sandbox"})
    try:
        memory = memory_of(berm.launcher_pid())
        for secret in (berm.key, "of-the-other-sandbox", "E2B_API_KEY", other._envd_access_token or "?"):
            assert secret.encode() not in memory
        assert Path(f"/proc/{berm.launcher_pid()}/environ").read_bytes() == b""
    finally:
        other.kill()


def memory_of(pid: int) -> bytes:
    parts = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as memory:
        for line in maps:
            span, rights, *_ = line.split()
            if "r" not in rights or "[v" in line:
                continue
            start, end = (int(part, 16) for part in span.split("-"))
            memory.seek(start)
            parts.append(memory.read(end - start))
    return b"".join(parts)


def test_writing_one_sandbox_changes_no_other_and_not_the_template(create: Callable[..., Sandbox]) -> None:
    first, second = create(), create()
    root(first, "echo changed > /etc/motd; rm -rf /usr/share/doc; touch /added")
    assert root(second, "ls /added 2>&1 || true").endswith("No such file or directory")
    assert root(create(), "ls /added 2>&1 || true").endswith("No such file or directory")


def test_a_link_to_the_host_is_resolved_inside(sandbox: Sandbox) -> None:
    root(sandbox, "ln -sfn / /home/user/all && ln -sf /etc/shadow /home/user/shadow")
    assert "berm" not in {entry.name for entry in sandbox.files.list("/home/user/all")}
    sandbox.files.write("/home/user/all/written", "inside")
    assert root(sandbox, "cat /written") == "inside"
    assert not Path("/written").exists()


def test_each_sandbox_has_an_id_range_of_its_own(create: Callable[..., Sandbox]) -> None:
    maps = {root(create(), "awk '{print $2}' /proc/self/uid_map") for _ in range(3)}
    assert len(maps) == 3
