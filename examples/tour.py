"""A tour of a sandbox, written as E2B's documentation teaches it; it runs unchanged on berm."""

from e2b import CommandExitException, Sandbox, TimeoutException

sandbox = Sandbox.create("base", timeout=120, metadata={"purpose": "tour"}, envs={"GREETING": "hello"})
sandbox.commands.run("echo $GREETING; echo oops >&2", on_stdout=print, on_stderr=print)
cat = sandbox.commands.run("cat", background=True, stdin=True)
sandbox.commands.send_stdin(cat.pid, "typed in\n")
sandbox.commands.close_stdin(cat.pid)
print(cat.wait().stdout)
watch = sandbox.files.watch_dir("/home/user")
sandbox.files.write("notes/today.txt", "first line\n")
print(sandbox.files.read("notes/today.txt"), [entry.name for entry in sandbox.files.list("notes")])
print([event.name for event in watch.get_new_events()])
try:
    sandbox.commands.run("sleep 60", timeout=1)
except TimeoutException:
    print("too slow")
try:
    sandbox.commands.run("exit 3")
except CommandExitException as failure:
    print("exit code", failure.exit_code)
sandbox.set_timeout(300)
print([info.metadata for info in Sandbox.list().next_items() if info.sandbox_id == sandbox.sandbox_id])
print(Sandbox.connect(sandbox.sandbox_id).commands.run("whoami").stdout, sandbox.kill())
