"""How many connections go through the proxy: all sandboxes of the machine share the server's descriptors."""

import logging
import resource
import time
from collections import Counter
from typing import Final

OF_SANDBOX: Final = 512
_OF_ALL: Final = 16384
"""Even where descriptors are many, as each connection may take 400 KiB of memory, too."""

_DESCRIPTORS: Final = 2
"""Of one connection: one inside, one outside."""

_SHARE: Final = 4
"""The proxy has this part of the descriptors, and a team this part of the proxy."""

_SECONDS: Final = 60
"""Between two lines in the log that say the same."""

log = logging.getLogger(__name__)


class Connections:
    """Counts those that are open now."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._told = float("-inf")

    def take(self, team_id: str, of_sandbox: int) -> bool:
        """Whether there is one more for a sandbox that has so many; it is to be given back then."""
        if of_sandbox >= OF_SANDBOX:
            return False
        most = self.most
        if self._open.total() >= most or self._open[team_id] >= most // _SHARE:
            self._tell(most, team_id)
            return False
        self._open[team_id] += 1
        return True

    def give_back(self, team_id: str) -> None:
        self._open[team_id] -= 1
        if not self._open[team_id]:
            del self._open[team_id]

    @property
    def most(self) -> int:
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return min(descriptors // _SHARE // _DESCRIPTORS, _OF_ALL)

    def _tell(self, most: int, team_id: str) -> None:
        if time.monotonic() < self._told + _SECONDS:
            return
        self._told = time.monotonic()
        log.warning(
            "connections of team %s are reset: %d are open through the proxy, %d of them the team's;"
            " there may be %d, and a quarter for a team, as the limit of open files (RLIMIT_NOFILE) allows",
            team_id,
            self._open.total(),
            self._open[team_id],
            most,
        )
