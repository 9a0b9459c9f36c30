"""Hundreds of sandboxes alive at once: each answers for itself, and nothing is left of them."""

from concurrent.futures import ThreadPoolExecutor

from e2b import Sandbox

from tests.instance import Instance

COUNT = 300


def answer(sandbox: Sandbox) -> str:
    return sandbox.commands.run("echo $E2B_SANDBOX_ID; cat mark").stdout


def create(number: int) -> Sandbox:
    sandbox = Sandbox.create(timeout=600, metadata={"scale": str(number)})
    sandbox.files.write("mark", sandbox.sandbox_id)
    return sandbox


def test_three_hundred_at_once(berm: Instance) -> None:
    with ThreadPoolExecutor(10) as pool:
        made = list(pool.map(create, range(COUNT)))
        try:
            held = {path.name for path in (berm.pool / "sandboxes").iterdir()}
            assert {sandbox.sandbox_id for sandbox in made} <= held
            assert list(pool.map(answer, made)) == [f"{s.sandbox_id}\n{s.sandbox_id}" for s in made]
            assert all(pool.map(Sandbox.is_running, made))
        finally:
            killed = list(pool.map(Sandbox.kill, made))
    assert all(killed)
    left = {path.name for path in (berm.pool / "sandboxes").iterdir()}
    assert not left & {sandbox.sandbox_id for sandbox in made}
    assert not any(sandbox.is_running() for sandbox in made[:10])
