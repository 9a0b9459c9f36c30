"""A stand-in for `python -m berm.server`: the lock, the record and the readiness line, and a small API."""

import fcntl
import json
import os
import signal
import sys
from pathlib import Path

from tests.cli.standin import answer, sandbox, serving

BUILD = "0b5c1c36-8d2e-4d0e-9f3b-6a4f9b1f2d11"


def main() -> None:
    home = Path(os.environ["BERM_HOME"])
    ready = open(int(sys.argv[sys.argv.index("--ready-fd") + 1]), "w")  # noqa: SIM115 - closed when told
    lock = open(home / "run/server.lock", "w")  # noqa: SIM115 - held for life
    reason = os.environ.get("STANDIN_REFUSES")
    if reason is not None:
        ready.write(reason)
        sys.exit(1)
    fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    with serving() as server:
        path = f"/templates/t0/builds/{BUILD}/status"
        template = {
            "templateID": "t0",
            "buildID": BUILD,
            "names": ["base"],
            "aliases": [],
            "buildStatus": "building",
        }
        ended = os.environ.get("STANDIN_BUILD", "ready")
        status = {"status": ended, "logEntries": [], "reason": {"message": "no mirror"}}
        server.on("GET /templates", answer(200, [template]))
        server.on("GET /v2/sandboxes", answer(200, [sandbox("i1")]))
        server.on(
            f"GET {path}",
            answer(200, {"status": "building", "logEntries": [{"message": "unpacking"}]}),
            answer(200, {"status": ended, "logEntries": [{"message": "done"}]}),
            answer(200, status),
        )
        record = {"pid": os.getpid(), "url": server.url, "version": "9.9"}
        (home / "run/server.json").write_text(json.dumps(record))
        ready.write("ready\n")
        ready.close()
        signal.sigwait({signal.SIGTERM})


main()
