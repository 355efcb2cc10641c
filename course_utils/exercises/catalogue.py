"""All exercises of the course, by name and by lesson: every module `lNN_…` of `lessons` is imported on first use."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from course_utils.conventions import lesson_number
from course_utils.exercises import define, lessons
from course_utils.exercises.define import Definition


def definition(name: str) -> Definition:
    """The exercise of that name. Raises KeyError with the known names."""
    _load()
    if name not in define.registry:
        raise KeyError(f"there is no exercise called {name!r}; there are: {', '.join(names())}")
    return define.registry[name]


def names(lesson: str | None = None) -> list[str]:
    """The names of all exercises, or of one lesson's ("00", "0" or "07a"), in the order in which lessons present them."""
    _load()
    wanted = lesson and lesson_number(lesson)
    return [d.name for d in define.registry.values() if wanted is None or d.lesson == wanted]


@functools.cache
def _load() -> None:
    for module in pkgutil.iter_modules(lessons.__path__):
        if module.name[:1] == "l" and module.name[1:3].isdigit():
            importlib.import_module(f"{lessons.__name__}.{module.name}")
