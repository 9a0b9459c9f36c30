"""Links that authorise an upload by themselves: the client sends the files with no key."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from urllib.parse import quote, urlencode

from pydantic import BaseModel

from berm import ids
from berm.api.limits import UPLOADS
from berm.errors import BermError, Code

LIFETIME = 3600
"""Seconds in which an upload may begin."""


class Link(BaseModel):
    """The query of a link. The signature is in no path, as paths are logged."""

    team: str = ""
    expires: str = ""
    signature: str = ""


class Links:
    """The key lives as long as the server: a build that waits for files does not outlive it either."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._key = secrets.token_bytes(32)
        self._clock = clock

    def make(self, team_id: str, files_hash: str) -> str:
        """Path and query of a link by which a team may upload the files of this name."""
        expires = str(int(self._clock()) + LIFETIME)
        query = Link(team=team_id, expires=expires, signature=self._sign(team_id, files_hash, expires))
        return f"{UPLOADS}{quote(files_hash, safe='')}?{urlencode(query.model_dump())}"

    def check(self, link: Link, files_hash: str) -> None:
        """Raises BermError PERMISSION_DENIED unless `make` made the link, and not too long ago."""
        if not ids.same_secret(link.signature, self._sign(link.team, files_hash, link.expires)):
            raise BermError(Code.PERMISSION_DENIED, "the upload link is not one of this server", _AGAIN)
        if int(link.expires) < self._clock():
            raise BermError(Code.PERMISSION_DENIED, "the upload link is too old", _AGAIN)

    def _sign(self, team_id: str, files_hash: str, expires: str) -> str:
        text = f"{team_id}\n{files_hash}\n{expires}"
        return hmac.new(self._key, text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()


_AGAIN = "ask for a new one: GET /templates/{templateID}/files/{hash}"
