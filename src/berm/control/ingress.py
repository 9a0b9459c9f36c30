"""How requests from outside reach sandboxes, in memory: the gateway asks for every request."""

from berm.control.links import Links
from berm.models import Ingress


class Ingresses:
    """Knows every live sandbox. One that it does not know is not reached: forgetting opens no port."""

    def __init__(self) -> None:
        self.links = Links()
        self._known: dict[str, Ingress] = {}

    def add(self, sandbox_id: str, ingress: Ingress, access_token: str | None) -> None:
        """Must come before the sandbox runs, so that no request finds its ports unguarded."""
        self._known[sandbox_id] = ingress
        self.links.add(sandbox_id, access_token)

    def forget(self, sandbox_id: str) -> None:
        """For a sandbox that is over."""
        self._known.pop(sandbox_id, None)
        self.links.forget(sandbox_id)

    def of(self, sandbox_id: str) -> Ingress | None:
        return self._known.get(sandbox_id)
