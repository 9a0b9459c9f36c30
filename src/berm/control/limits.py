"""How much each team may have: sandboxes at once, creations a second, the longest timeout."""

import math
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from berm.config import Config
from berm.errors import BermError, Code
from berm.models import Limits
from berm.node.interface import Node

_WINDOW = 1.0
"""Seconds that the rate counts over."""

_SLACK = 64
"""How many sandboxes that have ended may be remembered beside those that run."""


class Limiter:
    """Counts in memory, so that a creation costs no query; no `await` comes between looking and counting."""

    def __init__(self, node: Node, config: Config, clock: Callable[[], float] = time.monotonic) -> None:
        self._node = node
        self._config = config
        self._clock = clock
        self._own: dict[str, Limits] = {}
        self._sandboxes: defaultdict[str, set[str]] = defaultdict(set)
        self._starting: set[str] = set()
        self._begun: defaultdict[str, deque[float]] = defaultdict(deque)

    @property
    def starting(self) -> int:
        """How many sandboxes are being started now."""
        return len(self._starting)

    def start(self, limits: Mapping[str, Limits], sandboxes: Mapping[str, str]) -> None:
        """Learn of all teams by id, and of the team of each sandbox that lives."""
        self._own = dict(limits)
        for sandbox_id, team_id in sandboxes.items():
            self._sandboxes[team_id].add(sandbox_id)

    def set(self, team_id: str, limits: Limits) -> None:
        """What holds for a team from now on."""
        self._own[team_id] = limits

    def in_force(self, team_id: str) -> Limits:
        """A team's limits with the server's defaults in them; 0 is none."""
        own = self._own.get(team_id, Limits())
        return Limits(
            _given(own.max_sandboxes, self._config.team_max_sandboxes),
            _given(own.creation_rate, self._config.team_creation_rate),
            _given(own.max_timeout, self._config.max_timeout),
        )

    def longest(self, team_id: str) -> int:
        """The longest timeout in seconds that a team may ask for."""
        return _given(self._own.get(team_id, Limits()).max_timeout, self._config.max_timeout)

    @contextmanager
    def admit(self, team_id: str, sandbox_id: str, *, anew: bool = True) -> Iterator[None]:
        """Count a sandbox that is started inside the `with`. Raises BermError RATE_LIMITED.

        One that is not `anew` goes on after a pause, which no rate is meant for.
        """
        limits = self.in_force(team_id)
        self._check_room(team_id, sandbox_id, limits.max_sandboxes or 0)
        if anew:
            self._check_rate(team_id, limits.creation_rate or 0)
        self._starting.add(sandbox_id)
        self._sandboxes[team_id].add(sandbox_id)
        try:
            yield
        finally:
            self._starting.discard(sandbox_id)

    def _check_room(self, team_id: str, sandbox_id: str, most: int) -> None:
        # Those that are stopped hold their memory and their address.
        held = {name for name, paused in self._node.paused().items() if paused.has_processes} - {sandbox_id}
        running = len(self._node.running()) + len(self._starting) + len(held)
        if running >= self._config.max_sandboxes:
            raise _refusal(
                f"{self._config.max_sandboxes} sandboxes are running, which is the limit of the server",
                "kill one, or raise BERM_MAX_SANDBOXES",
            )
        known = self._sandboxes[team_id]
        if 0 < most <= len(known) or len(known) > running + _SLACK:
            known.intersection_update(self._node.running().keys() | self._starting | held)
        if 0 < most <= len(known):
            raise _refusal(
                f"{len(known)} sandboxes of the team run or are paused with memory, and its limit is {most}",
                "kill one, pause one without memory, or let the operator raise it with `berm team limits`",
            )

    def _check_rate(self, team_id: str, most: int) -> None:
        if not most:
            return
        begun, moment = self._begun[team_id], self._clock()
        while begun and begun[0] <= moment - _WINDOW:
            begun.popleft()
        if len(begun) >= most:
            wait = begun[len(begun) - most] + _WINDOW - moment
            raise _refusal(
                f"the team has started {len(begun)} sandboxes in the last second, and its limit is {most}",
                "ask again later, or let the operator raise it with `berm team limits`",
                math.ceil(wait),
            )
        begun.append(moment)


def _given(own: int | None, default: int) -> int:
    return default if own is None else own


def _refusal(message: str, hint: str, retry_after: int | None = None) -> BermError:
    return BermError(Code.RATE_LIMITED, message, hint, retry_after)
