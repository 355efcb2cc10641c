"""Exercises that exist only in a test: defined in a registry of their own, which is thrown away afterwards."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from course_utils.exercises import define, names
from course_utils.exercises.define import Definition


def defined(function: Callable, outputs: Any, **options: Any) -> Definition:
    """Define a toy: a function that serves as the reference."""
    return define.define(lesson="toy", points=1, outputs=outputs, **options)(function)


@contextlib.contextmanager
def registered(make_toys: Callable[[], None]) -> Iterator[None]:
    """While it runs, there are the toys that `make_toys` defines, beside the real exercises."""
    real = names()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(define, "registry", dict(define.registry))
        make_toys()
        assert names("toy")
        yield
    assert names() == real
