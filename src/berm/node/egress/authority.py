"""The certificate authority of this machine, which vouches for hosts to sandboxes with rules for them."""

import asyncio
import os
import ssl
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from berm import private
from berm.errors import BermError, Code

MOST: Final = 256
"""Certificates that are kept; the one that was used longest ago goes first."""

_LIFE: Final = timedelta(days=3650)
_LEAF_LIFE: Final = timedelta(days=7)
_KEPT: Final = timedelta(days=1)
"""How long a certificate is handed out after it was made."""

_LEFT: Final = timedelta(days=30)
"""An authority that ends sooner is replaced at the start."""

_SKEW: Final = timedelta(hours=1)
"""By which a sandbox's clock may be behind."""


class Authority:
    """Signs certificates, of which the key stays in this process, and never anything else."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self._certificate = certificate
        self._leaf_key = ec.generate_private_key(ec.SECP256R1())
        self._contexts: OrderedDict[str, tuple[datetime, ssl.SSLContext]] = OrderedDict()

    @property
    def certificate(self) -> str:
        """What is to be trusted, in PEM."""
        return self._certificate.public_bytes(Encoding.PEM).decode()

    async def context(self, name: str) -> ssl.SSLContext:
        """For the server's end of a connection to `name`, a host name without `*`."""
        made, context = self._contexts.get(name, (None, None))
        if made is None or context is None or datetime.now(UTC) - made > _KEPT:
            made, context = datetime.now(UTC), await asyncio.to_thread(self._context, name)
            self._contexts[name] = made, context
        self._contexts.move_to_end(name)
        while len(self._contexts) > MOST:
            self._contexts.popitem(last=False)
        return context

    def _context(self, name: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.num_tickets = 0
        context.set_alpn_protocols(["http/1.1"])
        chain = _pem(self._leaf_key) + self._leaf(name).public_bytes(Encoding.PEM)
        # The library takes the names of files only; this one has none.
        with os.fdopen(os.memfd_create("leaf", os.MFD_CLOEXEC), "wb", buffering=0) as file:
            file.write(chain)
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
        return context

    def _leaf(self, name: str) -> x509.Certificate:
        builder = _builder("berm", self._certificate.subject, self._leaf_key.public_key(), _LEAF_LIFE)
        own = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(own, critical=False)
            .sign(self._key, hashes.SHA256())
        )


def at(path: Path) -> Authority:
    """That of a file, which is made anew if there is none or it has come to its end.

    Raises BermError INVALID_ARGUMENT for a file that is no such thing, PERMISSION_DENIED if it is not ours.
    """
    try:
        found = _read(path) if path.exists() else None
        return found or _make(path)
    except OSError as error:
        raise BermError(Code.PERMISSION_DENIED, f"cannot use {path}: {error.strerror}") from None


def _read(path: Path) -> Authority | None:
    """None if it ends soon. What is in the file is never told."""
    try:
        key, certificate = _parsed(path.read_bytes())
    except ValueError:
        raise BermError(
            Code.INVALID_ARGUMENT,
            f"{path} does not hold a key and a certificate",
            "put the right file back, or remove it: a new one is made, which running sandboxes do not trust",
        ) from None
    ends = certificate.not_valid_after_utc
    return Authority(key, certificate) if ends - datetime.now(UTC) > _LEFT else None


def _parsed(text: bytes) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """Raises ValueError."""
    key, certificate = load_pem_private_key(text, None), x509.load_pem_x509_certificate(text)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise ValueError("the key is another certificate's")
    return key, certificate


def _make(path: Path) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    # Each is another, so that nobody takes one that was replaced for the one that is.
    title = f"berm {x509.random_serial_number():x}"[:21]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title)])
    certificate = (
        _builder(title, subject, key.public_key(), _LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    private.write(path, (_pem(key) + certificate.public_bytes(Encoding.PEM)).decode().strip())
    return Authority(key, certificate)


def _builder(
    title: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey, life: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title)]))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
