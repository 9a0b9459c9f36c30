"""The first sandbox: make it, run a command in it, and say how long that took."""

import time

from e2b import Sandbox

start = time.perf_counter()
sandbox = Sandbox.create("base")
created = time.perf_counter()
result = sandbox.commands.run('echo "Hello from $(uname -sr), I am $(whoami) in $E2B_SANDBOX_ID"')
answered = time.perf_counter()
sandbox.kill()

print(result.stdout.strip())
print(f"created in {(created - start) * 1000:.0f} ms, command in {(answered - created) * 1000:.0f} ms")
