"""The certificate authority of the host: one file, and certificates that strict clients take."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from berm.errors import BermError
from berm.node.egress import authority
from berm.node.egress.authority import MOST, Authority


@pytest.fixture
def made(tmp_path: Path) -> Authority:
    return authority.at(tmp_path / "authority.pem")


def shake_hands(context: ssl.SSLContext, trusted: str, name: str) -> x509.Certificate:
    """What a client that is as strict as can be is shown. Raises ssl.SSLError."""
    client = ssl.create_default_context(cadata=trusted)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(back, there, server_hostname=name)
    theirs = context.wrap_bio(there, back, server_side=True)
    for side in (ours, theirs, ours, theirs):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    shown = ours.getpeercert(binary_form=True)
    assert shown
    return x509.load_der_x509_certificate(shown)


async def test_a_strict_client_takes_what_it_signs(made: Authority) -> None:
    shown = shake_hands(await made.context("api.example.com"), made.certificate, "api.example.com")
    limits = shown.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert not limits.ca
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(await made.context("api.example.com"), made.certificate, "www.example.com")


def test_it_may_sign_no_other_authority(made: Authority) -> None:
    own = x509.load_pem_x509_certificate(made.certificate.encode())
    assert own.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0


async def test_it_outlives_the_server_in_a_file_of_the_owners(made: Authority, tmp_path: Path) -> None:
    path = tmp_path / "authority.pem"
    assert path.stat().st_mode & 0o777 == 0o600
    again = authority.at(path)
    assert again.certificate == made.certificate
    shake_hands(await again.context("a.test"), made.certificate, "a.test")
    assert "PRIVATE" not in made.certificate


async def test_another_authority_is_not_taken_for_it(made: Authority, tmp_path: Path) -> None:
    other = authority.at(tmp_path / "other.pem")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(await other.context("a.test"), made.certificate, "a.test")


async def test_certificates_are_kept_up_to_a_number(made: Authority) -> None:
    first = await made.context("first.test")
    assert await made.context("first.test") is first
    for number in range(MOST):
        await made.context(f"{number}.test")
    assert await made.context("first.test") is not first


@pytest.mark.parametrize("content", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nYQ==\n"])
def test_a_file_that_is_no_authority_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "authority.pem"
    path.write_bytes(content)
    with pytest.raises(BermError, match=r"authority\.pem does not hold a key and a certificate"):
        authority.at(path)
    assert path.read_bytes() == content


def test_a_key_of_another_certificate_is_refused(made: Authority, tmp_path: Path) -> None:
    path = tmp_path / "authority.pem"
    other = authority.at(tmp_path / "other.pem").certificate
    path.write_text(path.read_text().partition("-----BEGIN CERT")[0] + other)
    with pytest.raises(BermError):
        authority.at(path)


def test_one_that_is_about_to_end_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "authority.pem"
    monkeypatch.setattr(authority, "_LIFE", timedelta(days=29))
    old = authority.at(path)
    monkeypatch.undo()
    new = authority.at(path)
    assert new.certificate != old.certificate
    certificate = x509.load_pem_x509_certificate(new.certificate.encode())
    assert certificate.not_valid_after_utc > datetime.now(UTC) + timedelta(days=3000)
    assert isinstance(certificate.signature_hash_algorithm, hashes.SHA256)
