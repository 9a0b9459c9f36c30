"""The agent's one error type, and the tables that turn failures into RPC codes and HTTP statuses."""

import errno
from enum import Enum

from connectrpc.code import Code
from connectrpc.errors import ConnectError

from berm.agent.log import log


class Kind(Enum):
    """What went wrong: the RPC code and the HTTP status it is answered with."""

    INVALID = (Code.INVALID_ARGUMENT, 400)
    PRECONDITION = (Code.FAILED_PRECONDITION, 400)
    UNAUTHENTICATED = (Code.UNAUTHENTICATED, 401)
    PERMISSION = (Code.PERMISSION_DENIED, 403)
    NOT_FOUND = (Code.NOT_FOUND, 404)
    UNKNOWN_ROUTE = (Code.UNIMPLEMENTED, 404)
    BAD_METHOD = (Code.UNIMPLEMENTED, 405)
    NOT_ACCEPTABLE = (Code.INVALID_ARGUMENT, 406)
    EXISTS = (Code.ALREADY_EXISTS, 409)
    TOO_LARGE = (Code.RESOURCE_EXHAUSTED, 413)
    BAD_TYPE = (Code.INVALID_ARGUMENT, 415)
    EXHAUSTED = (Code.RESOURCE_EXHAUSTED, 429)
    CANCELED = (Code.CANCELED, 499)
    INTERNAL = (Code.INTERNAL, 500)
    TIMED_OUT = (Code.DEADLINE_EXCEEDED, 504)
    # Neither is RESOURCE_EXHAUSTED, of which clients say that there were too many requests, and to try again.
    TOO_SLOW = (Code.ABORTED, 409)
    NO_SPACE = (Code.FAILED_PRECONDITION, 507)


class AgentError(ConnectError):
    """A failure to report to the client: `message` names the field and the value."""

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(kind.value[0], message)
        self.status = kind.value[1]


def deadline_exceeded() -> AgentError:
    return AgentError(Kind.TIMED_OUT, "the request's time is over")


_OS_ERRORS = {
    errno.ENOENT: (Kind.NOT_FOUND, "path {path!r} does not exist"),
    errno.EEXIST: (Kind.EXISTS, "path {path!r} already exists"),
    errno.EISDIR: (Kind.INVALID, "path {path!r} is a directory"),
    errno.ENOTDIR: (Kind.INVALID, "path {path!r} is not a directory"),
    errno.ENOTEMPTY: (Kind.INVALID, "directory {path!r} is not empty"),
    errno.ENAMETOOLONG: (Kind.INVALID, "path is too long"),
    errno.ELOOP: (Kind.INVALID, "path {path!r} has too many symbolic links"),
    errno.EINVAL: (Kind.INVALID, "path {path!r} is not valid here"),
    errno.ENXIO: (Kind.INVALID, "path {path!r} is not a regular file"),
    errno.E2BIG: (Kind.INVALID, "the arguments and the environment are too long together"),
    errno.ENOEXEC: (Kind.INVALID, "{path!r} is not a program of this machine"),
    errno.ETXTBSY: (Kind.PRECONDITION, "path {path!r} is a program that is running"),
    errno.EBUSY: (Kind.PRECONDITION, "path {path!r} is in use"),
    errno.EACCES: (Kind.PERMISSION, "path {path!r}: permission denied"),
    errno.EPERM: (Kind.PERMISSION, "path {path!r}: operation not permitted"),
    errno.EROFS: (Kind.PERMISSION, "path {path!r} is on a read-only filesystem"),
    errno.ENOSPC: (Kind.NO_SPACE, "not enough disk space available"),
    errno.EDQUOT: (Kind.NO_SPACE, "not enough disk space available"),
    errno.EFBIG: (Kind.NO_SPACE, "path {path!r}: the file would be too large"),
    errno.EAGAIN: (Kind.EXHAUSTED, "the sandbox has reached its limit of processes"),
    errno.ENOMEM: (Kind.EXHAUSTED, "the sandbox is out of memory"),
    errno.EMFILE: (Kind.EXHAUSTED, "the sandbox has too many open files"),
    errno.ENFILE: (Kind.EXHAUSTED, "the sandbox has too many open files"),
}


def from_os_error(error: OSError, path: str = "") -> AgentError:
    """The AgentError for a failed system call; `path` is used where the error does not carry one."""
    kind, text = _OS_ERRORS.get(error.errno or 0, (Kind.INTERNAL, "{path!r}: {reason}"))
    return AgentError(kind, text.format(path=printable(error.filename) or path, reason=error.strerror))


def reported(error: Exception) -> AgentError:
    """What to tell the client of any failure: the unexpected is logged, and told to nobody else."""
    if isinstance(error, AgentError):
        return error
    if isinstance(error, OSError):
        return from_os_error(error)
    if isinstance(error, RecursionError):
        return AgentError(Kind.INVALID, "the directories are nested too deeply")
    log("error", f"unexpected {error!r}")
    return AgentError(Kind.INTERNAL, "internal error of the sandbox agent")


def printable(name: object) -> str:
    """A file name as text that every encoder takes: bytes that are not UTF-8 become U+FFFD."""
    if not isinstance(name, str):
        return ""
    return name if name.isascii() else name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
