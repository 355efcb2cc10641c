"""The error that people read."""

import contextlib
from collections.abc import Iterator


class CourseError(Exception):
    """Something that the user can put right; the message says what is wrong and what to do."""


@contextlib.contextmanager
def extra(name: str) -> Iterator[None]:
    """Raise CourseError, with what to install, where a package of this extra is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise CourseError(
            f"the package {error.name} is missing. Run `python -m pip install -e '.[{name}]'` in the repository"
        ) from None
