"""The E2B control plane as an ASGI app."""

from fastapi import FastAPI, Response
from starlette.middleware import Middleware

from berm.api import (
    builds,
    history,
    keys,
    later,
    metrics,
    plans,
    sandboxes,
    secrets,
    snapshots,
    tags,
    templates,
    uploads,
    usage,
)
from berm.api.errors import HANDLERS, Unexpected
from berm.api.limits import BodyLimit, EncodedSlashes
from berm.api.links import Links
from berm.config import Config
from berm.control.control import Control


def create_app(control: Control, config: Config) -> FastAPI:
    """The API over services that have been started, or will be before the first request."""
    app = FastAPI(
        openapi_url=None,
        redirect_slashes=False,
        exception_handlers=HANDLERS,
        middleware=[Middleware(Unexpected), Middleware(EncodedSlashes), Middleware(BodyLimit)],
    )
    app.state.control = control
    app.state.domain = config.public_domain
    app.state.links = Links()
    app.add_api_route("/health", _health)
    # /templates/tags would be taken for a template, and /sandboxes/metrics for a sandbox.
    for module in (
        tags,
        later,
        usage,
        sandboxes,
        snapshots,
        builds,
        plans,
        history,
        uploads,
        templates,
        keys,
        secrets,
        metrics,
    ):
        app.include_router(module.router)
    return app


async def _health() -> Response:
    return Response(status_code=204)
