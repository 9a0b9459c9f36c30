"""Uses every public method of E2B's Python SDK, `sync` or `async`; prints what became of each as JSON."""

import asyncio
import inspect
import json
import re
import sys
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import e2b
import httpx

PREFIX = {"sync": "", "async": "Async"}[sys.argv[1]]
NAME = f"all-{uuid.uuid4().hex[:12]}"
GIT = {"author_name": "A", "author_email": "a@example.org"}

results: dict[str, str] = {}


def half(name: str) -> Any:
    """The class of that name in this half of the SDK; None if this version has none."""
    return getattr(e2b, PREFIX + name, None)


async def settle(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def step(name: str, work: Callable[[], Any]) -> Any:
    """Do one thing, and keep what came of it: `ok`, `lacks`, or the error's text."""
    try:
        value = await settle(work())
    except (AttributeError, TypeError) as error:
        results[name] = "lacks" if "has no attribute" in str(error) else f"{type(error).__name__}: {error}"
    except Exception as error:
        results[name] = f"{type(error).__name__}: {error}"
    else:
        results[name] = "ok"
        return value
    return None


def unless(found: Any, expected: Any) -> None:
    if found != expected:
        raise AssertionError(f"{found!r} instead of {expected!r}")


async def commands(sandbox: Any) -> None:
    async def run() -> None:
        unless((await settle(sandbox.commands.run("echo $GREETING; whoami"))).stdout, "hello\nuser\n")

    async def fed() -> None:
        handle = await settle(sandbox.commands.run("cat", background=True, stdin=True))
        await step("commands.list", lambda: sandbox.commands.list())
        connected = await step("commands.connect", lambda: sandbox.commands.connect(handle.pid))
        await step("commands.send_stdin", lambda: sandbox.commands.send_stdin(handle.pid, "one\n"))
        await step("commands.stream_input", lambda: streamed(sandbox.commands, handle.pid, "two\n"))
        await step("commands.close_stdin", lambda: sandbox.commands.close_stdin(handle.pid))
        unless((await settle(handle.wait())).stdout.splitlines()[0], "one")
        await settle(connected.disconnect())

    async def killed() -> None:
        handle = await settle(sandbox.commands.run("sleep 60", background=True))
        unless(await settle(sandbox.commands.kill(handle.pid)), True)

    await step("commands.run", run)
    await step("commands.run(background)", fed)
    await step("commands.kill", killed)


async def streamed(module: Any, pid: int, text: str) -> None:
    if not PREFIX:
        module.stream_input(pid, [text.encode()])
        return
    stream = module.stream_input(pid)
    await stream.send(text.encode())
    await stream.close()


async def terminals(sandbox: Any) -> None:
    size = e2b.PtySize(rows=24, cols=80)
    options = {"on_data": lambda _data: None} if PREFIX else {}
    handle = await step("pty.create", lambda: sandbox.pty.create(size, **options))
    await step("pty.resize", lambda: sandbox.pty.resize(handle.pid, e2b.PtySize(rows=30, cols=90)))
    await step("pty.connect", lambda: sandbox.pty.connect(handle.pid, **options))
    await step("pty.send_stdin", lambda: sandbox.pty.send_stdin(handle.pid, b"true\n"))
    await step("pty.stream_input", lambda: streamed(sandbox.pty, handle.pid, "true\n"))
    await step("pty.kill", lambda: sandbox.pty.kill(handle.pid))


async def files(sandbox: Any) -> None:
    async def read() -> None:
        unless(await settle(sandbox.files.read("a/one")), "1")

    async def watch() -> None:
        seen = asyncio.Event()
        options = {"on_event": lambda _event: seen.set()} if PREFIX else {}
        handle = await settle(sandbox.files.watch_dir("a", **options))
        await settle(sandbox.files.write("a/watched", "x"))
        if PREFIX:
            await seen.wait()
        else:
            unless(bool(handle.get_new_events()), True)
        await settle(handle.stop())

    async def urls() -> None:
        async with httpx.AsyncClient() as client:
            url = sandbox.upload_url("linked", use_signature_expiration=60)
            (await client.post(url, files={"file": b"by link"})).raise_for_status()
            url = sandbox.download_url("linked", use_signature_expiration=60)
            unless((await client.get(url)).text, "by link")

    await step("files.write", lambda: sandbox.files.write("a/one", "1"))
    await step("files.write_files", lambda: sandbox.files.write_files([{"path": "a/two", "data": b"2"}]))
    await step("files.read", read)
    await step("files.exists", lambda: sandbox.files.exists("a/one"))
    await step("files.get_info", lambda: sandbox.files.get_info("a/one"))
    await step("files.list", lambda: sandbox.files.list("a"))
    await step("files.make_dir", lambda: sandbox.files.make_dir("a/b"))
    await step("files.rename", lambda: sandbox.files.rename("a/two", "a/three"))
    await step("files.watch_dir", watch)
    await step("files.remove", lambda: sandbox.files.remove("a"))
    await step("upload_url, download_url", urls)


async def git(sandbox: Any) -> None:
    use = sandbox.git
    steps: tuple[tuple[str, Callable[[], Any]], ...] = (
        ("init", lambda: use.init("repo")),
        ("init(bare)", lambda: use.init("bare", bare=True)),
        ("configure_user", lambda: use.configure_user("A", "a@example.org")),
        ("set_config", lambda: use.set_config("pull.rebase", "false")),
        ("get_config", lambda: use.get_config("pull.rebase")),
        ("(a file to add)", lambda: sandbox.files.write("repo/file", "x")),
        ("add", lambda: use.add("repo")),
        ("commit", lambda: use.commit("repo", "first", **GIT)),
        ("status", lambda: use.status("repo")),
        ("branches", lambda: use.branches("repo")),
        ("create_branch", lambda: use.create_branch("repo", "side")),
        ("checkout_branch", lambda: use.checkout_branch("repo", "side")),
        ("create_branch again", lambda: use.create_branch("repo", "gone")),
        ("checkout_branch again", lambda: use.checkout_branch("repo", "side")),
        ("delete_branch", lambda: use.delete_branch("repo", "gone", force=True)),
        ("remote_add", lambda: use.remote_add("repo", "origin", "/home/user/bare")),
        ("remote_get", lambda: use.remote_get("repo", "origin")),
        ("push", lambda: use.push("repo", remote="origin", branch="side", set_upstream=True)),
        ("pull", lambda: use.pull("repo", remote="origin", branch="side")),
        ("clone", lambda: use.clone("/home/user/bare", "copy", branch="side")),
        ("reset", lambda: use.reset("repo", mode="hard")),
        ("restore", lambda: use.restore("repo", paths=["file"])),
        ("dangerously_authenticate", lambda: use.dangerously_authenticate("me", "secret")),
    )
    for name, work in steps:
        await step(f"git.{name}", work)


async def life(sandbox: Any) -> None:
    own = half("Sandbox")
    await step("Sandbox.list", lambda: own.list().next_items())
    await step("Sandbox.connect", lambda: own.connect(sandbox.sandbox_id))
    await step("get_info", lambda: sandbox.get_info())
    await step("is_running", lambda: sandbox.is_running())
    await step("set_timeout", lambda: sandbox.set_timeout(200))
    await step("get_metrics", lambda: sandbox.get_metrics())
    await step("get_host", lambda: sandbox.get_host(8000))
    await step("get_mcp_url", lambda: sandbox.get_mcp_url())
    await settle(sandbox.files.write("/etc/mcp-gateway/.token", "token", user="root"))
    await step("get_mcp_token", lambda: sandbox.get_mcp_token())
    await step("update_network", lambda: sandbox.update_network({"deny_out": ["192.0.2.0/24"]}))


async def states(sandbox: Any) -> None:
    """What needs a pause or a copy of a sandbox."""
    own = half("Sandbox")
    await step("pause", lambda: sandbox.pause())
    await step("connect(paused)", lambda: sandbox.connect())
    await step("beta_pause", lambda: sandbox.beta_pause())
    await step("connect(paused) again", lambda: sandbox.connect())
    taken = await step("create_snapshot", lambda: sandbox.create_snapshot())
    await step("list_snapshots", lambda: sandbox.list_snapshots().next_items())
    if taken:
        await step("delete_snapshot", lambda: own.delete_snapshot(taken.snapshot_id))
    copies = await step("fork", lambda: sandbox.fork(timeout=60))
    for copy in copies or []:
        await settle(copy.kill())


async def templates() -> None:
    use = half("Template")

    def new(text: str) -> Any:
        return use().from_template("base").run_cmd(f"echo {text} # {NAME}")

    async def background() -> None:
        info = await settle(use.build_in_background(new("two"), NAME))
        while True:
            status = await step("Template.get_build_status", lambda: use.get_build_status(info))
            if status is None or status.status.value not in ("building", "waiting"):
                return

    await step("Template.build", lambda: use.build(new("one"), NAME))
    await step("Template.build_in_background", background)
    await step("Template.exists", lambda: use.exists(NAME))
    await step("Template.alias_exists", lambda: use.alias_exists(NAME))
    await step("Template.assign_tags", lambda: use.assign_tags(f"{NAME}:default", ["v1"]))
    await step("Template.get_tags", lambda: use.get_tags(NAME))
    await step("Template.remove_tags", lambda: use.remove_tags(NAME, ["v1"]))
    await step("Sandbox.delete_snapshot(template)", lambda: half("Sandbox").delete_snapshot(NAME))


async def volumes() -> None:
    use = half("Volume")
    volume = await step("Volume.create", lambda: use.create(NAME))
    await step("Volume.list", lambda: use.list())
    if not volume:
        return
    await step("Volume.get_info", lambda: use.get_info(volume.volume_id))
    await step("Volume.connect", lambda: use.connect(volume.volume_id))
    await step("volume.make_dir", lambda: volume.make_dir("/d"))
    await step("volume.write_file", lambda: volume.write_file("/d/f", "text"))
    await step("volume.read_file", lambda: volume.read_file("/d/f"))
    await step("volume.list", lambda: volume.list("/d"))
    await step("volume.exists", lambda: volume.exists("/d/f"))
    await step("volume.get_info", lambda: volume.get_info("/d/f"))
    await step("volume.update_metadata", lambda: volume.update_metadata("/d/f", mode=0o600))
    await step("volume.remove", lambda: volume.remove("/d"))
    await step("Volume.destroy", lambda: use.destroy(volume.volume_id))


async def secrets() -> None:
    use = half("Secret")
    made = await step("Secret.create", lambda: use.create(NAME, "value"))
    await step("Secret.list", lambda: use.list().next_items())
    await step("Secret.fill", lambda: use.fill(NAME))
    await step("Secret.iam_token", lambda: use.iam_token(audience="a", token_type="JWT-SVID"))
    if not made:
        return
    await step("Secret.get_info", lambda: use.get_info(NAME))
    await step("Secret.exists", lambda: use.exists(NAME))
    await step("Secret.update", lambda: use.update(NAME, "other"))
    await step("Secret.destroy", lambda: use.destroy(NAME))


PARTS: tuple[Callable[[Any], Awaitable[None]], ...] = (life, commands, terminals, files, git, states)


async def main() -> None:
    create = half("Sandbox").create
    sandbox = await step(
        "Sandbox.create",
        lambda: create("base", timeout=300, metadata={"of": NAME}, envs={"GREETING": "hello"}),
    )
    for part in PARTS:
        await step(f"all of {part.__name__}", lambda part=part: part(sandbox))  # type: ignore[misc]
    await step("kill", lambda: sandbox.kill())
    for whole in (templates, volumes, secrets):
        await step(f"all of {whole.__name__}", whole)
    await step("every public method", lambda: unless(unused(sandbox), []))


def unused(sandbox: Any) -> list[str]:
    """Public methods that no step was about, of what could be made."""
    done = {word for name in results for word in re.findall(r"\w+", name)}
    owners = [type(owner) for owner in (sandbox, sandbox.commands, sandbox.pty, sandbox.files, sandbox.git)]
    owners += [half(name) for name in ("Volume", "Secret") if results[f"{name}.create"] == "ok"]
    return [
        f"{owner.__name__}.{name}"
        for owner in owners
        for name, _ in inspect.getmembers(owner, callable)
        if not name.startswith("_") and name not in done
    ]


asyncio.run(main())
print(json.dumps(results))
