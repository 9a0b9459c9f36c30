"""What the tests of control ask for, and how they wait."""

from collections.abc import Mapping

from berm.control.control import Control
from berm.control.creation import NewSandbox
from berm.models import Lifecycle, Principal
from berm.store.paging import Slice
from berm.store.sandboxes import Filter
from tests.serving import add_team


def wanted(
    template: str = "base",
    seconds: int | None = 60,
    metadata: Mapping[str, str] | None = None,
    *,
    env: Mapping[str, str] | None = None,
    secure: bool = True,
    allow_internet: bool | None = None,
    lifecycle: Lifecycle = Lifecycle(),  # noqa: B008 - frozen
) -> NewSandbox:
    return NewSandbox(
        template,
        seconds,
        metadata or {},
        env or {},
        secure,
        allow_internet=allow_internet,
        lifecycle=lifecycle,
    )


async def second_team(control: Control) -> Principal:
    return Principal((await add_team(control)).team_id, "key")


async def listed(control: Control, who: Principal) -> list[str]:
    listing = await control.sandboxes.list(who, Filter(), Slice())
    return [sandbox.sandbox_id for sandbox in listing.page.items]
