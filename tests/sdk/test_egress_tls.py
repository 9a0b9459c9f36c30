"""Headers under TLS: the host ends and begins it anew, for hosts that there are rules for and no others."""

import importlib.util
import io
import json
import shutil
import tarfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from e2b import ALL_TRAFFIC, AsyncSandbox, CommandExitException, Sandbox, Secret

from tests.instance import Instance
from tests.outside import ADDRESS, OTHER, SOCKS, Outside, internet
from tests.outside_server import PASSWORD, USER
from tests.sdk.named import resolving, start
from tests.sdk.test_egress_proxy import in_memory

KEY = "Bearer of-good-news"
RULES: Any = {"allowed.test": [{"transform": {"headers": {"Authorization": KEY}}}]}
URL = "https://allowed.test/"


@pytest.fixture(scope="module", autouse=True)
def outside(berm: Instance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    directory = tmp_path_factory.mktemp("tls")
    with internet(directory) as outside, resolving(berm, directory):
        yield outside


def curl(sandbox: Sandbox, url: str, options: str = "", at: str = ADDRESS) -> str:
    """What is answered, by a server that has proved its name."""
    command = f"curl --silent --show-error --max-time 15 --connect-to ::{at}: {options} {url}"
    return run(sandbox, command)


def head(sandbox: Sandbox, url: str = URL, options: str = "", at: str = ADDRESS) -> str:
    """The head of a request as the server got it."""
    return str(json.loads(curl(sandbox, url, options, at))["head"])


def test_headers_are_set_under_tls(create: Callable[..., Sandbox]) -> None:
    sandbox = create(network={"rules": RULES, "allow_out": lambda ctx: list(ctx.rules)})
    seen = head(sandbox, options="--header 'authorization: mine' --header 'X-Other: kept'")
    assert f"Authorization: {KEY}\r\n" in seen
    assert "X-Other: kept\r\n" in seen
    assert "mine" not in seen


def run(sandbox: Sandbox, command: str, user: str = "user") -> str:
    try:
        return sandbox.commands.run(command, user=user).stdout
    except CommandExitException as failure:
        return f"{failure.exit_code}: {failure.stderr}"


@pytest.fixture
def ruled(create: Callable[..., Sandbox]) -> Sandbox:
    """A sandbox with rules, in which their host has its address."""
    sandbox = create(network={"rules": RULES})
    run(sandbox, f"echo '{ADDRESS} allowed.test' >> /etc/hosts", user="root")
    return sandbox


def with_packages(sandbox: Sandbox, *names: str) -> None:
    """Put packages of this run's into a sandbox, as pip would."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in names:
            package = Path(str(importlib.util.find_spec(name).origin))  # type: ignore[union-attr]
            whole = package.parent if package.name == "__init__.py" else package
            tar.add(whole, whole.name, filter=lambda f: None if f.name.endswith((".so", ".pyc")) else f)
    sandbox.files.write("/tmp/packages.tar", buffer.getvalue())
    run(sandbox, "mkdir -p /tmp/packages && tar -C /tmp/packages -xf /tmp/packages.tar")


PYTHON = {
    "ssl": "import urllib.request as u; print(u.urlopen(URL).read().decode())",
    "requests": "import requests; print(requests.get(URL).text)",
    "httpx": "import httpx; print(httpx.get(URL).text)",
}


def test_python_trusts_the_host(ruled: Sandbox) -> None:
    with_packages(ruled, "requests", "urllib3", "certifi", "idna", "charset_normalizer")
    with_packages(ruled, "httpx", "httpcore", "h11", "anyio", "typing_extensions")
    for library, script in PYTHON.items():
        ruled.files.write("/tmp/get.py", script.replace("URL", repr(URL)))
        seen = run(ruled, "PYTHONPATH=/tmp/packages python3 /tmp/get.py")
        assert f"Authorization: {KEY}\r\n" in json.loads(seen)["head"], library


def test_node_trusts_the_host(ruled: Sandbox) -> None:
    node = Path(str(shutil.which("node"))).resolve()
    with node.open("rb") as program:
        ruled.files.write("/tmp/node", program)
    script = f"fetch('{URL}').then(answer => answer.text()).then(console.log)"
    seen = run(ruled, f'chmod +x /tmp/node && /tmp/node -e "{script}"')
    assert f"Authorization: {KEY}\r\n" in json.loads(seen)["head"]


def test_other_certificates_are_trusted_as_before(ruled: Sandbox) -> None:
    own = run(ruled, "cat /etc/ssl/certs/ca-certificates.crt")
    assert own.startswith("-----BEGIN")
    assert run(ruled, "cat $SSL_CERT_FILE") == own + run(ruled, "cat $NODE_EXTRA_CA_CERTS")
    assert run(ruled, "sudo -i cat /run/berm/ca-bundle.pem").startswith(own)


def test_a_variable_of_the_owner_s_stays(create: Callable[..., Sandbox]) -> None:
    sandbox = create(network={"rules": RULES}, envs={"SSL_CERT_FILE": "/mine.pem"})
    assert run(sandbox, "echo $SSL_CERT_FILE $CURL_CA_BUNDLE") == "/mine.pem /run/berm/ca-bundle.pem\n"


def test_bodies_pass_both_ways(ruled: Sandbox) -> None:
    large = "--output /tmp/large --write-out '%{size_download}'"
    assert curl(ruled, f"{URL}large", large) == "20000000"
    assert run(ruled, "tail -c 10 /tmp/large; wc -c < /tmp/large") == "000001999\n20000000\n"
    run(ruled, "head -c 3000000 /dev/zero | tr '\\0' x > /tmp/body")
    for options in ("", "--header 'Transfer-Encoding: chunked'"):
        seen = json.loads(curl(ruled, URL, f"--data-binary @/tmp/body {options}"))
        assert seen["body"] == "x" * 3_000_000
        assert KEY in seen["head"]


def test_a_connection_may_go_on_with_another_protocol(ruled: Sandbox) -> None:
    script = """
import socket, ssl
plain = socket.create_connection(("allowed.test", 443))
with ssl.create_default_context().wrap_socket(plain, server_hostname="allowed.test") as s:
    head = ["GET /upgrade HTTP/1.1", "Host: allowed.test", "Connection: upgrade", "Upgrade: echo", "", ""]
    s.sendall("\\r\\n".join(head).encode())
    print(s.recv(1000).decode().split("\\r\\n")[0])
    s.sendall(b"ping")
    print(s.recv(100).decode())
"""
    ruled.files.write("/tmp/upgrade.py", script)
    assert run(ruled, "python3 /tmp/upgrade.py") == "HTTP/1.1 101 Switching Protocols\nping\n"


def test_a_client_that_wants_http_2_gets_http_1(ruled: Sandbox) -> None:
    assert KEY in head(ruled, options="--http2")
    said = run(ruled, f"printf 'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n' | {S_CLIENT} allowed.test -ign_eof")
    assert "400 Bad Request" in said


def test_a_secret_takes_its_place_outside(create: Callable[..., Sandbox]) -> None:
    name = f"key-{uuid.uuid4()}"
    Secret.create(name, "value-one")
    headers = {"Authorization": f"Bearer ${{e2b.secrets.{name}}}"}
    sandbox = create(network={"rules": {"allowed.test": [{"transform": {"headers": headers}}]}})
    assert "Authorization: Bearer value-one\r\n" in head(sandbox)
    Secret.destroy(name)
    words = f"berm: a rule names the secret {name}, which is not there or is no header's value\n"
    assert curl(sandbox, URL) == words


def test_a_request_says_which_sandbox_it_comes_from(create: Callable[..., Sandbox], berm: Instance) -> None:
    """By a token that is made for each request, and that whoever asks this server can check."""
    token = Secret.iam_token(audience="allowed.test", token_type="JWT-SVID")
    sandbox = create(
        iam={"tokens": {"cloud": token}},
        network={
            "rules": {
                "allowed.test": [
                    {"transform": lambda ctx: {"headers": {"X-Token": ctx.iam.tokens["cloud"]}}},
                ]
            }
        },
    )
    keys = jwt.PyJWKClient(f"{berm.url}/.well-known/jwks.json")

    def claims(of: Sandbox) -> dict[str, Any]:
        sent = head(of).partition("X-Token: ")[2].partition("\r\n")[0]
        key = keys.get_signing_key_from_jwt(sent)
        return dict(jwt.decode(sent, key, ["ES256"], audience="allowed.test", issuer=berm.url))

    assert claims(sandbox)["sandbox_id"] == sandbox.sandbox_id
    assert claims(sandbox)["jti"] != claims(sandbox)["jti"]
    sandbox.pause(keep_memory=False)
    sandbox = sandbox.connect()
    (fork,) = sandbox.fork(timeout=60)
    assert isinstance(fork, Sandbox)
    try:
        assert claims(fork)["sub"].endswith(f"/sandbox/{fork.sandbox_id}")
        assert claims(sandbox)["sub"].endswith(f"/sandbox/{sandbox.sandbox_id}")
    finally:
        fork.kill()


def test_they_go_through_the_proxy_of_the_sandbox(create: Callable[..., Sandbox], outside: Outside) -> None:
    proxy = {"address": f"{SOCKS}:1080", "username": USER, "password": PASSWORD}
    sandbox = create(network={"rules": RULES, "allow_out": ["allowed.test"], "egress_proxy": proxy})
    assert KEY in head(sandbox)
    asked = [entry for entry in outside.seen() if entry["event"] == "socks"]
    assert (asked[-1]["asked"], asked[-1]["port"]) == ("allowed.test", "443")


def test_no_request_goes_to_a_server_without_its_name(
    create: Callable[..., Sandbox], outside: Outside
) -> None:
    """The host looks at certificates in the sandbox's place."""
    rules: Any = {"*.example": RULES["allowed.test"]}
    sandbox = create(network={"rules": rules})
    before = len(outside.seen())
    words = curl(sandbox, "https://imposter.example/")
    assert words.startswith("berm: the certificate of imposter.example cannot be verified: Hostname mismatch")
    assert [entry for entry in outside.seen()[before:] if entry["event"] == "request"] == []


def test_the_request_goes_to_the_host_of_the_connection(create: Callable[..., Sandbox]) -> None:
    sandbox = create(network={"rules": RULES})
    words = "berm: the request names another host than the connection, which is to allowed.test\n"
    assert curl(sandbox, URL, "--header 'Host: other.test'") == words
    assert head(sandbox, at=OTHER).startswith("GET / HTTP/1.1\r\nHost: allowed.test")


def test_a_rule_allows_nothing(create: Callable[..., Sandbox]) -> None:
    sandbox = create(network={"rules": RULES, "allow_out": [OTHER], "deny_out": [ALL_TRAFFIC]})
    assert curl(sandbox, URL, at=OTHER) == "berm: this sandbox may not reach allowed.test\n"


S_CLIENT = f"openssl s_client -connect {ADDRESS}:443 -servername"


def issuer(sandbox: Sandbox, name: str) -> str:
    """Who vouches for the server, as a client that believes everything sees it."""
    return run(sandbox, f"{S_CLIENT} {name} < /dev/null 2> /dev/null | grep ^issuer=")


OWN = "issuer=CN = outside\n"
"""That of the server itself."""


def test_there_is_no_certificate_for_a_host_without_a_rule(ruled: Sandbox) -> None:
    assert issuer(ruled, "allowed.test").startswith("issuer=CN = berm ")
    for name in ("other.test", "deep.below.allowed.test", "allowed.test.other.test", "xallowed.test"):
        assert issuer(ruled, name) == OWN
    # Nor for an address, or for a name that is a pattern.
    assert run(ruled, f"openssl s_client -connect {ADDRESS}:443 < /dev/null 2>&1 | grep ^issuer=") == OWN
    assert issuer(ruled, "'*.allowed.test'") == OWN
    ruled.update_network({})
    assert issuer(ruled, "allowed.test") == OWN


def test_a_certificate_is_for_its_host_alone(create: Callable[..., Sandbox]) -> None:
    """Also where a rule is for all hosts below another."""
    sandbox = create(network={"rules": {"*.test": RULES["allowed.test"]}})
    command = f"{S_CLIENT} allowed.test < /dev/null 2> /dev/null | openssl x509 -noout -text"
    shown = run(sandbox, command)
    assert "DNS:allowed.test\n" in shown
    assert "CA:FALSE" in shown
    assert "DNS:*" not in shown


def test_a_sandbox_without_rules_knows_nothing_of_it(sandbox: Sandbox) -> None:
    known = run(sandbox, "env; ls /run; cat /etc/ssl/certs/ca-certificates.crt", user="root")
    assert "berm" not in known
    assert "SSL_CERT_FILE" not in known
    assert "-----BEGIN CERT" in known
    assert issuer(sandbox, "allowed.test") == OWN


def test_the_key_is_in_the_server_alone(ruled: Sandbox, berm: Instance) -> None:
    assert KEY in head(ruled)
    file = berm.home / "authority.pem"
    assert file.stat().st_mode & 0o777 == 0o600
    key = load_pem_private_key(file.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    number = key.private_numbers().private_value.to_bytes(32, "little")
    words = [number, number[::-1], file.read_bytes().splitlines()[1]]
    # That is how OpenSSL keeps it.
    assert in_memory(berm.server_pid(), number)
    for pid in (berm.launcher_pid(), berm.init_pid(ruled.sandbox_id)):
        assert not [word for word in words if in_memory(pid, word)]
    assert "PRIVATE" not in run(ruled, "cat /run/berm/*", user="root")


def test_rules_come_while_it_runs(sandbox: Sandbox, berm: Instance, outside: Outside) -> None:
    """Also to one that a server before this one started."""
    start(berm, outside.log.parent)
    sandbox.update_network({"rules": RULES})
    assert KEY in head(sandbox)


async def test_the_asynchronous_half_sets_them_too(asandbox: AsyncSandbox) -> None:
    await asandbox.update_network({"rules": RULES})
    seen = await asandbox.commands.run(f"curl --silent --connect-to ::{ADDRESS}: {URL}")
    assert f"Authorization: {KEY}\r\n" in json.loads(seen.stdout)["head"]


def test_pausing_and_forking_keep_it_all(create: Callable[..., Sandbox]) -> None:
    sandbox = create(network={"rules": RULES})
    for keep_memory in (True, False):
        sandbox.pause(keep_memory=keep_memory)
        sandbox = sandbox.connect()
        assert KEY in head(sandbox)
    (fork,) = sandbox.fork(timeout=60)
    assert isinstance(fork, Sandbox)
    try:
        assert KEY in head(fork)
    finally:
        fork.kill()


def test_one_that_spoils_its_own_trust_harms_itself(create: Callable[..., Sandbox], sandbox: Sandbox) -> None:
    for spoiled in (
        "ln -s /etc/passwd /run/berm",
        "echo '#!/bin/bash\nexec sleep 1000' > /bin/sh",
        "rm /bin/sh",
    ):
        run(sandbox, spoiled, user="root")
        sandbox.update_network({"rules": RULES})
        assert KEY in head(sandbox, "http://allowed.test/")
    assert KEY in head(create(network={"rules": RULES}))
