"""A program that serves an agent the way a sandbox's is served: forked, and unable to import any more.

It prints the port; the child prints, at each SIGUSR1, the modules it has had to import since the fork.
"""

import gc
import os
import signal
import socket
import sys

from berm.agent import server


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    server.rehearse()
    gc.collect()
    gc.freeze()
    if child := os.fork():
        sys.stdout.write(f"{listener.getsockname()[1]} {child}\n")
        sys.stdout.flush()
        os.waitpid(child, 0)
    else:
        serve(listener, frozenset(sys.modules))


def serve(listener: socket.socket, imported: frozenset[str]) -> None:
    sys.meta_path.clear()
    sys.path_hooks.clear()

    def report(*_: object) -> None:
        os.write(1, (",".join(sorted(sys.modules.keys() - imported)) + "\n").encode())

    signal.signal(signal.SIGUSR1, report)
    config = server.AgentConfig(access_token="token-of-the-tests", env={"HOME": "/tmp"})
    server.Agent(listener).run(config, lambda: None)


if __name__ == "__main__":
    main()
