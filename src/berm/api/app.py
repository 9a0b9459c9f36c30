"""The E2B control plane as an ASGI app."""

from fastapi import FastAPI, Response
from starlette.middleware import Middleware

from berm.api import (
    access_tokens,
    activity,
    admin,
    builds,
    history,
    identity,
    keys,
    later,
    login,
    metrics,
    nodes,
    plans,
    sandboxes,
    secrets,
    snapshots,
    tags,
    teams,
    templates,
    uploads,
    usage,
    volumecontent,
    volumes,
)
from berm.api.errors import HANDLERS, Unexpected
from berm.api.limits import BodyLimit, EncodedSlashes
from berm.api.links import Links
from berm.config import Config
from berm.control.control import Control

_ROUTES = (
    access_tokens,
    admin,
    identity,
    keys,
    secrets,
    teams,
    volumes,
    volumecontent,
    login,
    metrics,
    nodes,
    activity,
    tags,  # before templates, as /templates/tags would be taken for one
    usage,  # before sandboxes, as /sandboxes/metrics would be taken for one
    sandboxes,
    snapshots,
    builds,
    plans,
    history,
    uploads,
    templates,
    later,  # last: POST /templates/{id} would be taken for /templates/tags
)


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
    for module in _ROUTES:
        app.include_router(module.router)
    return app


async def _health() -> Response:
    return Response(status_code=204)
