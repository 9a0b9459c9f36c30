"""`python -m berm.agent`: an agent on a TCP port, for isolations that start it as a program."""

import argparse
import socket
import sys

from berm.agent.server import Agent, AgentConfig


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m berm.agent", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=49983, help="0 lets the kernel choose; it is printed")
    parser.add_argument("--config", default="{}", help="AgentConfig as a JSON object")
    arguments = parser.parse_args()
    listener = socket.create_server((arguments.host, arguments.port))
    port = listener.getsockname()[1]
    config = AgentConfig.from_json(arguments.config.encode())
    Agent(listener).run(config, lambda: _announce(port))


def _announce(port: int) -> None:
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
