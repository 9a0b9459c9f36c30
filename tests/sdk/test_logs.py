"""What is in a sandbox's log, as the API tells it."""

import uuid
from collections.abc import Callable, Iterator

import httpx
import pytest
from e2b import CommandExitException, PtySize, Sandbox, Template

from berm.node.logs import MAX_BYTES
from tests.instance import Instance

pytestmark = [pytest.mark.sdk, pytest.mark.root]

Entry = dict[str, object]
Log = Callable[..., list[Entry]]


@pytest.fixture
def log(berm: Instance) -> Iterator[Log]:
    """The entries of a sandbox's log."""
    with httpx.Client(base_url=berm.url, headers={"X-API-Key": berm.key}) as client:

        def read(sandbox: Sandbox, **query: str) -> list[Entry]:
            answer = client.get(f"/v2/sandboxes/{sandbox.sandbox_id}/logs", params=query)
            assert answer.status_code == 200, answer.text
            entries: list[Entry] = answer.json()["logs"]
            return entries

        yield read


def messages(entries: list[Entry]) -> list[object]:
    return [entry["message"] for entry in entries]


def test_a_command_its_output_and_its_end(sandbox: Sandbox, log: Log) -> None:
    sandbox.commands.run("echo one; echo two; printf three")
    assert messages(log(sandbox)) == ["process started", "one", "two", "three", "process ended"]
    assert log(sandbox)[-1]["fields"]["status"] == "exit status 0"  # type: ignore[index]
    assert messages(log(sandbox, search="w")) == ["two"]
    assert messages(log(sandbox, direction="backward", limit="2")) == ["process ended", "three"]


def test_what_is_typed_at_a_terminal_is_not_logged(sandbox: Sandbox, log: Log) -> None:
    terminal = sandbox.pty.create(PtySize(24, 80))
    sandbox.pty.send_stdin(terminal.pid, b"echo a''b; exit\n")
    terminal.wait()
    assert messages(log(sandbox)) == ["process started", "process ended"]


def test_of_much_output_there_is_the_beginning_and_a_note(sandbox: Sandbox, log: Log) -> None:
    sandbox.commands.run("yes | head -c 20000000")
    notes = messages(log(sandbox, level="warn"))
    assert all(
        str(note).endswith("bytes of output are not logged, as there was much of it") for note in notes
    )
    assert 19_000_000 < sum(int(str(note).split()[0]) for note in notes) < 20_000_000
    assert messages(log(sandbox))[:2] == ["process started", "y"]
    assert "process ended" in messages(log(sandbox, direction="backward"))


def test_not_even_root_writes_to_the_log(sandbox: Sandbox) -> None:
    with pytest.raises(CommandExitException, match="Permission denied"):
        sandbox.commands.run("echo > /proc/1/fd/2", user="root")


def test_a_log_does_not_fill_the_disk(sandbox: Sandbox, log: Log, berm: Instance) -> None:
    path = berm.pool / "sandboxes" / sandbox.sandbox_id / "log"
    with path.open("ab") as file:
        file.write(b"filled\n" * (8 << 20))
    while path.stat().st_blocks * 512 > 2 * MAX_BYTES:
        pass
    sandbox.commands.run("echo still there")
    assert "still there" in messages(log(sandbox, direction="backward"))


def test_a_start_command_is_in_the_log(create: Callable[..., Sandbox], log: Log) -> None:
    name = f"logs-{uuid.uuid4().hex[:12]}"
    command = "echo from the start; touch /tmp/there; sleep 1000"
    Template.build(Template().from_template("base").set_start_cmd(command, "test -e /tmp/there"), name)
    assert "from the start" in messages(log(create(template=name, timeout=120)))


def test_the_last_words_of_a_sandbox_are_there_when_it_is_gone(sandbox: Sandbox, log: Log) -> None:
    sandbox.commands.run("echo last words")
    sandbox.kill()
    assert "last words" in messages(log(sandbox))
