"""What the base template brings."""

import pytest
from e2b import Sandbox

PROGRAMS = ("bash", "curl", "git", "python3", "pip", "node", "npm", "sudo", "ls", "ps", "ss", "tar", "gzip")


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_is_there_and_runs(sandbox: Sandbox, program: str) -> None:
    assert sandbox.commands.run(f"{program} --version").exit_code == 0


def test_the_accounts(sandbox: Sandbox) -> None:
    assert sandbox.commands.run("id").stdout.startswith("uid=1000(user) gid=1000(user)")
    assert sandbox.commands.run("getent passwd user").stdout.endswith(":/home/user:/bin/bash\n")
    assert sandbox.commands.run("sudo -n whoami").stdout == "root\n"
    assert sandbox.commands.run("stat -c '%U %a' /home/user /tmp").stdout.split()[0::2] == ["user", "root"]
    assert sandbox.commands.run("stat -c %a /tmp").stdout == "1777\n"


def test_the_certificates(sandbox: Sandbox) -> None:
    script = "import ssl; print(len(ssl.create_default_context().get_ca_certs()) > 50)"
    assert sandbox.commands.run(f"python3 -c '{script}'").stdout == "True\n"


def test_a_virtual_environment_and_a_package(sandbox: Sandbox) -> None:
    sandbox.commands.run("python3 -m venv env && env/bin/python -c 'import pip, sqlite3, ctypes, lzma'")


def test_a_repository(sandbox: Sandbox) -> None:
    sandbox.files.write("project/file", "content")
    sandbox.git.init("project")
    sandbox.git.configure_user("Someone", "someone@example.com")
    sandbox.git.add("project")
    sandbox.git.commit("project", "First")
    assert sandbox.git.status("project").is_clean
    assert sandbox.commands.run("git -C project log --format=%s").stdout == "First\n"


def test_a_program_of_node(sandbox: Sandbox) -> None:
    assert sandbox.commands.run("node -e 'console.log([1,2].map(n => n * 2).join())'").stdout == "2,4\n"


def test_the_places_of_a_system(sandbox: Sandbox) -> None:
    for place in ("/dev/null", "/dev/urandom", "/dev/ptmx", "/dev/fd/0", "/proc/self/exe"):
        assert sandbox.files.exists(place), place
    sandbox.commands.run("echo x > /dev/null; echo x > /dev/shm/x; echo x > /tmp/x; test -w /var/tmp")
    sandbox.commands.run("python3 -c 'import multiprocessing; multiprocessing.Lock()'")


def test_the_environment_tells_of_the_sandbox(sandbox: Sandbox) -> None:
    shown = sandbox.commands.run('echo "$E2B_SANDBOX $E2B_SANDBOX_ID"').stdout
    assert shown == f"true {sandbox.sandbox_id}\n"


def test_a_login_shell_starts_no_program_and_knows_who_it_is_for(sandbox: Sandbox) -> None:
    lines = sandbox.commands.run("grep -F '$(id -u)' /etc/profile").stdout.splitlines()
    assert lines
    assert all("${EUID:-$(id -u)}" in line for line in lines)
    assert "/usr/sbin" not in sandbox.commands.run("echo $PATH").stdout
    assert "/usr/sbin" in sandbox.commands.run("echo $PATH", user="root").stdout
