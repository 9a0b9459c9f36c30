"""Certificates from an ACME authority (RFC 8555) for a domain and every name below it.

Such a wildcard has to be proved by a record in the DNS (dns-01). How one is set depends on who serves the
domain, so a program of the operator's does it. This module is a program of its own: what it imports is
large, and needed for seconds in months.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from acme import challenges, client, crypto_util, errors, messages
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.jwa import ES256
from josepy.jwk import JWKEC
from requests import RequestException

from berm.gateway.renewal import Order

_USER_AGENT: Final = "berm"
_HOOK_SECONDS: Final = 600
_RENEW_AT: Final = 2 / 3
"""Part of a certificate's life after which the next one is obtained."""


def due(order: Order, now: datetime) -> bool:
    """Whether there is no certificate for these names, or an old one."""
    try:
        certificate = x509.load_pem_x509_certificate(order.chain.read_bytes())
        named = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (OSError, ValueError, x509.ExtensionNotFound):
        return True
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    old = now >= begin + (end - begin) * _RENEW_AT
    return old or set(named.value.get_values_for_type(x509.DNSName)) != set(order.names)


def obtain(order: Order) -> None:
    """Get a certificate with a key of its own, and write both.

    Raises acme.errors.Error, RequestException, and subprocess.SubprocessError if the hook does not succeed.
    """
    order.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    account = JWKEC(key=_account_key(order.account))
    network = client.ClientNetwork(account, alg=ES256, user_agent=_USER_AGENT)
    authority = client.ClientV2(client.ClientV2.get_directory(order.authority, network), network)
    _register(authority, order.email)
    key = _pem(ec.generate_private_key(ec.SECP256R1()))
    wanted = authority.new_order(crypto_util.make_csr(key, order.names))
    with ExitStack() as stack:
        for authorization in wanted.authorizations:
            stack.enter_context(_proved(authority, authorization, order.hook, account))
        chain = authority.poll_and_finalize(wanted).fullchain_pem
    _write(order.key, key)
    _write(order.chain, chain.encode())


def _register(authority: client.ClientV2, email: str) -> None:
    """Whoever names an authority in the settings agrees to its terms."""
    wanted = messages.NewRegistration.from_data(email=email or None, terms_of_service_agreed=True)
    try:
        authority.new_account(wanted)
    except errors.ConflictError as known:
        account = messages.RegistrationResource(body=messages.Registration(), uri=known.location)
        authority.net.account = account


@contextmanager
def _proved(
    authority: client.ClientV2,
    authorization: messages.AuthorizationResource,
    hook: str,
    account: JWKEC,
) -> Iterator[None]:
    """Set the record that the authority looks for, and take it away in the end."""
    if authorization.body.status == messages.STATUS_VALID:
        yield
        return
    challenge = _challenge(authorization)
    response, value = challenge.response_and_validation(account)
    record = challenge.chall.validation_domain_name(authorization.body.identifier.value)
    try:
        _run(hook, "present", record, value)
        authority.answer_challenge(challenge, response)
        yield
    finally:
        _run(hook, "cleanup", record, value)


def _challenge(authorization: messages.AuthorizationResource) -> messages.ChallengeBody:
    offered = authorization.body.challenges
    found = next((each for each in offered if isinstance(each.chall, challenges.DNS01)), None)
    if found is None:
        raise errors.Error(f"the authority offers no dns-01 for {authorization.body.identifier.value}")
    return found


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=_HOOK_SECONDS, stdin=subprocess.DEVNULL)


def _account_key(path: Path) -> ec.EllipticCurvePrivateKey:
    if not path.exists():
        _write(path, _pem(ec.generate_private_key(ec.SECP256R1())))
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise OSError(f"{path} is not a key that this program made")
    return key


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes) -> None:
    """Replace a file in one step; nobody else reads it."""
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_bytes(content)
    fresh.rename(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Obtain the certificate if it is due. Exit code 1 and a line on stderr if that fails."""
    parser = argparse.ArgumentParser(prog="berm.gateway.acme", description=main.__doc__)
    for name in ("authority", "email", "hook", "domain", "directory"):
        parser.add_argument(f"--{name}", required=True, type=Path if name == "directory" else str)
    order = Order(**vars(parser.parse_args(arguments)))
    if not due(order, datetime.now(UTC)):
        return
    try:
        obtain(order)
    except (errors.Error, messages.Error, RequestException, OSError, subprocess.SubprocessError) as failure:
        sys.exit(f"no certificate for {order.domain} from {order.authority}: {failure!r}")


if __name__ == "__main__":
    main()
