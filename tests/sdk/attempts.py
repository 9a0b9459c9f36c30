"""Several attempts that have to fail alike."""

from collections.abc import Callable

import pytest


def all_raise(kind: type[Exception], match: str, *attempts: Callable[[], object]) -> None:
    """Each raises `kind` itself, and none of its subclasses, with a message in which `match` is found."""
    for number, attempt in enumerate(attempts):
        with pytest.raises(kind, match=match) as failure:
            attempt()
        assert failure.type is kind, f"attempt {number} raised {failure.value!r}"
