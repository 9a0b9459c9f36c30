"""A build secret is known to the command that it is for, while that runs, and to nobody else."""

import subprocess
from pathlib import Path

from tests.building.folder import BASE, Folder

SECRET = "correct-horse-battery-staple"

DOCKERFILE = f"""\
FROM {BASE}
RUN --mount=type=secret,id=token,required sha256sum < /run/secrets/token > /sum
RUN --mount=type=secret,id=token,target=/etc/token,mode=0444,uid=1000 \\
    su user -c 'sha256sum < /etc/token' >> /sum
RUN --mount=type=secret,id=token,env=TOKEN printf %s "$TOKEN" | sha256sum >> /sum
RUN --mount=type=secret,id=token cat /run/secrets/token
RUN ! cat /run/secrets/token /etc/token 2> /dev/null && [ -z "$TOKEN" ]
"""


def test_a_secret_is_where_it_is_asked_for_and_nowhere_else(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(SECRET)
    folder.write(DOCKERFILE)

    done = folder.build("--secret", f"id=token,src={tmp_path / 'token'}")

    assert len(set(folder.run("cat /sum").splitlines())) == 1, "each step read the same"
    assert SECRET not in done.stdout + done.stderr
    assert SECRET not in folder.berm.berm("template", "logs", folder.name).stdout
    assert SECRET not in str(folder.newest())
    assert SECRET not in folder.run(
        "cat /proc/*/environ /proc/*/cmdline; ls -la /run/secrets /etc/token 2>&1; true"
    )
    assert not _files_with(*_written(folder.berm.pool)), "in a layer, a log or a sandbox's directory"
    assert not _files_with(folder.berm.home / "run", folder.berm.home / "berm.db")
    assert SECRET.encode() not in _memory(folder.berm.launcher_pid())


def test_another_secret_is_no_reason_to_build_again(folder: Folder, tmp_path: Path) -> None:
    folder.write(f"FROM {BASE}\nRUN --mount=type=secret,id=token echo used > /used\n")
    for value in ("first", "second"):
        (tmp_path / "token").write_text(value)
        folder.build("--secret", f"id=token,src={tmp_path / 'token'}")

    assert all(folder.cached())


def test_a_secret_that_was_not_given_is_named(folder: Folder) -> None:
    folder.write(f"FROM {BASE}\nRUN --mount=type=secret,id=token,required cat /run/secrets/token\n")

    assert "'token'" in folder.fails()


def _written(pool: Path) -> list[Path]:
    """All that the pool has, but for the layers of images, which were there before."""
    made = [path for path in (pool / "layers").iterdir() if not path.name.startswith(("deb-", "img-"))]
    return [*(path / "tree" for path in made), *(path for path in pool.iterdir() if path.name != "layers")]


def _files_with(*places: Path) -> str:
    """The files that hold the secret, below these places."""
    options = ("--recursive", "--devices=skip", "--files-with-matches", "--fixed-strings")
    command = ["grep", *options, SECRET, *map(str, places)]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout


def _memory(pid: int) -> bytes:
    """What a process has in memory that it could write to."""
    found = bytearray()
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in maps:
            span, rights = line.split()[:2]
            if rights.startswith("rw"):
                start, end = (int(part, 16) for part in span.split("-"))
                memory.seek(start)
                found += memory.read(end - start)
    return bytes(found)
