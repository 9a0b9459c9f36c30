"""Bodies that may be large: they are read after it is known whose they are, not before."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from berm.api.auth import Caller
from berm.errors import BermError, Code

M = TypeVar("M", bound=BaseModel)


def parsed(model: type[M]) -> Callable[[Request, Caller], Awaitable[M]]:
    """A dependency that gives the body as a model. FastAPI's own reads it before any other has been asked."""

    # The caller is asked for so that a stranger gets 401 before the body is read.
    async def read(request: Request, _call: Caller) -> M:
        body = await request.body()
        try:
            return model.model_validate_json(body)
        except ValidationError as error:
            raise _refusal(error) from None

    return read


def _refusal(error: ValidationError) -> Exception:
    found = error.errors()
    if found[0]["type"] == "json_invalid":
        reason = found[0]["ctx"]["error"]
        return BermError(Code.INVALID_ARGUMENT, f"the body is not JSON: {reason}")
    return RequestValidationError([{**e, "loc": ("body", *e["loc"])} for e in found])
