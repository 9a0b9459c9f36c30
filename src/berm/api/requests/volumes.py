"""The E2B requests about volumes, and what is in them."""

from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, Request
from pydantic import Field, StringConstraints

from berm.api.requests.common import Body, Query
from berm.errors import BermError, Code
from berm.node.interface import Attributes

_Id = Annotated[int, Field(ge=0, le=65535)]
_Mode = Annotated[int, Field(ge=0, le=0o7777)]


class NewVolume(Body):
    name: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_-]+$", max_length=128)]


class Metadata(Body):
    """PATCH /volumecontent/{volumeID}/path."""

    uid: _Id | None = None
    gid: _Id | None = None
    mode: _Mode | None = None

    def attributes(self) -> Attributes:
        return Attributes(self.uid, self.gid, self.mode)


class Making(Query):
    """How a file or directory is to be made."""

    uid: _Id | None = None
    gid: _Id | None = None
    mode: _Mode | None = None
    force: bool | None = None

    def attributes(self) -> Attributes:
        return Attributes(self.uid, self.gid, self.mode)


class Depth(Query):
    depth: Annotated[int, Field(ge=1, lt=1 << 32)] = 1


def _path(request: Request) -> str:
    # Not as FastAPI reads it: a name may be no UTF-8.
    query: bytes = request.scope["query_string"]
    path = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True, errors="surrogateescape")).get(
        "path"
    )
    if path is None:
        raise BermError(Code.INVALID_ARGUMENT, "path is missing from the query", "name a file or directory")
    return path


Path = Annotated[str, Depends(_path)]
