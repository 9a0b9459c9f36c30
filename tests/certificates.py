"""A certificate authority of our own, by the openssl program."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Issued:
    """A certificate chain and its key, in PEM files."""

    chain: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    """What clients trust when they are given `certificate`."""

    directory: Path
    certificate: Path

    @classmethod
    def make(cls, directory: Path) -> "Authority":
        authority = cls(directory, directory / "ca.pem")
        _openssl(
            *("req", "-x509", *_NEW_KEY, "-subj", "/CN=tests", "-days", "2"),
            *("-keyout", authority._key, "-out", authority.certificate),
        )
        return authority

    @property
    def _key(self) -> Path:
        return self.directory / "ca.key"

    def issue(self, name: str, *hosts: str) -> Issued:
        """A certificate for these host names; files of the same `name` are replaced."""
        issued = Issued(self.directory / f"{name}.pem", self.directory / f"{name}.key")
        names = ",".join(f"DNS:{host}" for host in hosts)
        _openssl(
            *("req", "-x509", *_NEW_KEY, "-subj", f"/CN={name}", "-days", "1"),
            *("-CA", self.certificate, "-CAkey", self._key, "-addext", f"subjectAltName={names}"),
            *("-addext", "basicConstraints=critical,CA:FALSE", "-keyout", issued.key, "-out", issued.chain),
        )
        return issued


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
