"""`python -m berm.launcher`: set the host up, warm up, fork into the background, serve."""

import argparse
import gc
import ipaddress
import os
import sys
from collections.abc import Callable
from pathlib import Path

from berm.launcher import cgroup, firewall, network, pool, privileges


def main() -> None:
    # Whatever the caller forgot to close would be open in every sandbox's ancestor for ever.
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    arguments = _parse()
    plan = network.Plan(arguments.instance, arguments.subnet, arguments.uid_base)
    try:
        run(arguments, plan)
    except (OSError, EOFError) as failure:
        sys.exit(f"berm launcher: {failure}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="berm.launcher", description=__doc__)
    parser.add_argument("--instance", required=True, help="four characters that name this instance's objects")
    parser.add_argument("--socket", required=True, type=Path)
    parser.add_argument("--log", required=True, type=Path)
    parser.add_argument("--pool", required=True, type=Path)
    parser.add_argument("--pool-image", required=True, type=Path)
    parser.add_argument("--pool-gb", required=True, type=int)
    parser.add_argument("--subnet", required=True, type=ipaddress.IPv4Network)
    parser.add_argument("--uid-base", required=True, type=int)
    parser.add_argument("--warm", required=True, type=int)
    return parser.parse_args()


def run(arguments: argparse.Namespace, plan: network.Plan) -> None:
    """Start all that needs starting, then answer requests; raises OSError with the reason if it cannot."""
    storage = pool.open_pool(arguments.pool, arguments.pool_image, arguments.pool_gb)
    cgroups = cgroup.detect(plan.instance)
    cgroups.set_up()
    servers = network.nameservers(Path("/etc/resolv.conf").read_text())
    wall = firewall.Firewall(plan, servers)
    wall.set_up()
    network.set_up_host()
    listening = _to_background(arguments.log)
    # Only here: nothing that a sandbox inherits is needed to find out that the host will not do.
    from berm.agent import server as agent  # noqa: PLC0415
    from berm.launcher import zygote  # noqa: PLC0415

    agent.rehearse()
    privileges.limit()
    host = zygote.Host(plan, storage, cgroups, wall)
    launcher = zygote.Launcher(host, tuple(servers), arguments.warm)
    gc.collect()
    gc.freeze()
    zygote.serve(launcher, arguments.socket, listening)


def _to_background(log: Path) -> Callable[[], None]:
    """Go on in a process of its own session; the first one leaves when the returned function is called."""
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        os._exit(0 if os.read(reader, 1) else 1)
    os.close(reader)
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, target)

    def listening() -> None:
        os.write(writer, b"1")
        os.close(writer)

    return listening


if __name__ == "__main__":
    main()
