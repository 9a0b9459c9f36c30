"""Who asks a registry, where the machine's own credentials are not to be used."""

import base64
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from berm.errors import BermError, Code

_DEFAULT_HOST = "docker.io"


@dataclass(frozen=True, slots=True)
class Login:
    """A user name and a password. Raises BermError INVALID_ARGUMENT for a name that no registry takes."""

    username: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        if ":" in self.username or not self.username.isprintable():
            raise BermError(
                Code.INVALID_ARGUMENT,
                f"the user name for the registry is {self.username!r}",
                "it cannot have a colon or control characters",
            )


def host_of(reference: str) -> str:
    """The registry that an image's name begins with; Docker Hub where it names none."""
    first, slash, _ = reference.partition("/")
    named = slash and ("." in first or ":" in first or first == "localhost")
    return first if named and first != f"index.{_DEFAULT_HOST}" else _DEFAULT_HOST


@contextmanager
def auth_file(reference: str, login: Login) -> Iterator[int]:
    """A containers-auth.json(5) in memory, as a descriptor: it is in no directory and no command line."""
    basic = base64.b64encode(f"{login.username}:{login.password}".encode()).decode()
    descriptor = os.memfd_create("auth")
    try:
        os.write(descriptor, json.dumps({"auths": {host_of(reference): {"auth": basic}}}).encode())
        yield descriptor
    finally:
        os.close(descriptor)
